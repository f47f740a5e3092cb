"""Group convolutions as a convolution for each group, and dense layers as products for some of their outputs each,
where the parts of a kernel are variables of their own."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Tensor, Variable, consumers, producers
from tflite_export.part_variables import Division, PartVariable
from tflite_export.passes.dead_code import remove_dead_code
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
    """Of `kernel`, whose outputs lie along `axis` of its variable if `reader` is a convolution.

    A product in parts holds what it reads or writes once more, so of a dense layer the kernel must be larger than that.
    """
    if reader.kind == "CONV_2D":
        x, used, bias = reader.inputs
        if used is kernel and bias is None and x.shape[3] > kernel.shape[3]:
            return Division(axis, (x.shape[3] // kernel.shape[3],))
    if reader.kind == "MATMUL" and reader.inputs[1] is kernel and len(kernel.shape) == 2:
        axis = 0 if reader.attributes["adj_y"] else 1
        if kernel.nbytes > reader.inputs[0].nbytes + reader.outputs[0].nbytes:
            return Division(axis, tuple(range(1, min(_MOST, kernel.shape[axis]) + 1)))
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
        stored, (*shape, _) = whole.get(op.inputs[1]), op.outputs[0].shape
        if stored is None:
            return None
        is_convolution, results = op.kind == "CONV_2D", []
        inputs = b.split_evenly(op.inputs[0], len(stored), 3) if is_convolution else [op.inputs[0]] * len(stored)
        for x, part in zip(inputs, stored, strict=True):
            kernel = b.read(part)
            kernel = b.transpose(kernel, _OUTPUTS_FIRST) if part.axis == 3 else kernel
            part_shape = (*shape, part.shape[part.axis])
            results.append(b.op(op.kind, (x, kernel, *op.inputs[2:]), part_shape, **op.attributes))
        return b.concatenate(results, len(shape))

    kept = tuple(op for op in graph.ops if not (op.kind in ("READ_VARIABLE", "TRANSPOSE") and op.outputs[0] in whole))
    return rewrite(graph.replace(ops=kept), {"CONV_2D": product, "MATMUL": product}) if whole else graph


def join_products(graph: Graph) -> Graph:
    """`graph`, canonical, with one product for those of one matrix with several constants, side by side: what
    `compute_in_parts` makes of a dense layer, once nothing trains."""

    def join(b: Builder, op: Op) -> Tensor | None:
        made_by = producers(b.ops)
        products = [made_by.get(t) for t in op.inputs]
        if any(product is None or product.kind != "MATMUL" for product in products) or op.attributes["axis"] != 1:
            return None
        (x, *others), kernels = zip(*(product.inputs for product in products), strict=True)
        turned = {product.attributes["adj_x"] for product in products}
        if any(other is not x for other in others) or len(turned) > 1 or not all(k.is_constant for k in kernels):
            return None
        rows = [k.data if p.attributes["adj_y"] else k.data.T for k, p in zip(kernels, products, strict=True)]
        return b.matmul(x, constant(np.concatenate(rows), name=kernels[0].name), turned.pop(), adj_y=True)

    return remove_dead_code(rewrite(graph, {"CONCATENATION": join}))


def _only(readers: Iterable[Op]) -> Op | None:
    readers = tuple(readers)
    return readers[0] if len(readers) == 1 else None
