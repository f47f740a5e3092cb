"""Group convolutions as a convolution for each group, where the groups' kernels are variables of their own."""

from __future__ import annotations

from collections.abc import Iterable

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, Variable, consumers
from tflite_export.part_variables import PartVariable
from tflite_export.passes.rewrite import rewrite

_OUTPUTS_FIRST = (3, 0, 1, 2)  # a kernel as Keras has it, [height, width, in, out], to LiteRT's


def groups_of_kernels(graph: Graph) -> dict[Variable, tuple[int, int]]:
    """The number of groups, and the axis of the outputs, of every variable that is the kernel of one group convolution
    in a canonical forward graph, and nothing else."""
    readers, outputs, found = consumers(graph.ops), set(graph.outputs.values()), {}
    for read in graph.ops:
        if read.kind != "READ_VARIABLE":
            continue
        kernel, axis = read.outputs[0], 0
        reader = _only(readers.get(kernel, ()))
        if reader is not None and reader.kind == "TRANSPOSE" and tuple(reader.inputs[1].data) == _OUTPUTS_FIRST:
            kernel, axis = reader.outputs[0], 3
            reader = _only(readers.get(kernel, ()))
        if reader is None or reader.kind != "CONV_2D" or outputs & {read.outputs[0], kernel}:
            continue
        x, used, bias = reader.inputs
        if used is kernel and bias is None and x.shape[3] > kernel.shape[3]:
            found[read.attributes["variable"]] = (x.shape[3] // kernel.shape[3], axis)
    return found


def convolve_by_group(graph: Graph, variables: Iterable[Variable]) -> Graph:
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

    def convolution(b: Builder, op: Op) -> Tensor | None:
        x, kernel, _ = op.inputs
        if kernel not in whole:
            return None
        stored, (*size, out), results = whole[kernel], op.outputs[0].shape, []
        for image, part in zip(b.split_evenly(x, len(stored), 3), stored, strict=True):
            value = b.read(part)
            value = b.transpose(value, _OUTPUTS_FIRST) if part.axis == 3 else value
            shape = (*size, out // len(stored))
            results.append(b.op("CONV_2D", (image, value, None), shape, **op.attributes))
        return b.concatenate(results, 3)

    kept = tuple(op for op in graph.ops if not (op.kind in ("READ_VARIABLE", "TRANSPOSE") and op.outputs[0] in whole))
    return rewrite(graph.replace(ops=kept), {"CONV_2D": convolution}) if whole else graph


def _only(readers: Iterable[Op]) -> Op | None:
    readers = tuple(readers)
    return readers[0] if len(readers) == 1 else None
