"""Group convolutions as a convolution for each group, and dense layers as products for some of their outputs each,
where the parts of a kernel are variables of their own."""

from __future__ import annotations

from collections.abc import Iterable

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, Variable, consumers
from tflite_export.part_variables import Division, PartVariable
from tflite_export.passes.rewrite import rewrite

_OUTPUTS_FIRST = (3, 0, 1, 2)  # a kernel as Keras has it, [height, width, in, out], to LiteRT's
_MOST = 16  # parts of a dense kernel


def divisions_of_kernels(graph: Graph) -> dict[Variable, Division]:
    """How every variable may be stored that is the kernel of one group convolution or one dense layer in a canonical
    forward graph, and nothing else."""
    readers, outputs, found = consumers(graph.ops), set(graph.outputs.values()), {}
    for read in graph.ops:
        if read.kind != "READ_VARIABLE":
            continue
        kernel, axis = read.outputs[0], 0
        reader = _only(readers.get(kernel, ()))
        if reader is not None and reader.kind == "TRANSPOSE" and tuple(reader.inputs[1].data) == _OUTPUTS_FIRST:
            kernel, axis = reader.outputs[0], 3
            reader = _only(readers.get(kernel, ()))
        if reader is None or outputs & {read.outputs[0], kernel}:
            continue
        division = _division(reader, kernel, axis)
        if division is not None:
            found[read.attributes["variable"]] = division
    return found


def _division(reader: Op, kernel: Tensor, axis: int) -> Division | None:
    """Of `kernel`, whose outputs lie along `axis` of its variable if `reader` is a convolution."""
    if reader.kind == "CONV_2D":
        x, used, bias = reader.inputs
        if used is kernel and bias is None and x.shape[3] > kernel.shape[3]:
            return Division(axis, (x.shape[3] // kernel.shape[3],))
    if reader.kind == "MATMUL" and reader.inputs[1] is kernel and len(kernel.shape) == 2:
        axis = 0 if reader.attributes["adj_y"] else 1
        return Division(axis, tuple(n for n in range(1, _MOST + 1) if kernel.shape[axis] % n == 0))
    return None


def compute_in_parts(graph: Graph, variables: Iterable[Variable]) -> Graph:
    """`graph`, a canonical forward graph, with its kernels read as `variables` are stored."""
    parts: dict[str, list[PartVariable]] = {}
    for variable in variables:
        if isinstance(variable, PartVariable):
            parts.setdefault(variable.whole, []).append(variable)
    whole: dict[Tensor, list[PartVariable]] = {}  # by what is read of it
    for op in graph.ops:
        if op.kind == "READ_VARIABLE" and op.attributes["variable"].name in parts:
            whole[op.outputs[0]] = parts[op.attributes["variable"].name]
        elif op.kind == "TRANSPOSE" and op.inputs[0] in whole:
            whole[op.outputs[0]] = whole[op.inputs[0]]

    def product(b: Builder, op: Op) -> Tensor | None:
        stored, (*shape, out) = whole.get(op.inputs[1]), op.outputs[0].shape
        if stored is None:
            return None
        is_convolution, results = op.kind == "CONV_2D", []
        inputs = b.split_evenly(op.inputs[0], len(stored), 3) if is_convolution else [op.inputs[0]] * len(stored)
        for x, part in zip(inputs, stored, strict=True):
            kernel = b.read(part)
            kernel = b.transpose(kernel, _OUTPUTS_FIRST) if part.axis == 3 else kernel
            part_shape = (*shape, out // len(stored))
            results.append(b.op(op.kind, (x, kernel, *op.inputs[2:]), part_shape, **op.attributes))
        return b.concatenate(results, len(shape))

    kept = tuple(op for op in graph.ops if not (op.kind in ("READ_VARIABLE", "TRANSPOSE") and op.outputs[0] in whole))
    return rewrite(graph.replace(ops=kept), {"CONV_2D": product, "MATMUL": product}) if whole else graph


def _only(readers: Iterable[Op]) -> Op | None:
    readers = tuple(readers)
    return readers[0] if len(readers) == 1 else None
