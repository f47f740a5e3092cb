"""Reductions and constant factors as a human would write them.

Automatic differentiation multiplies by one constant after another, often whole maps where a number per channel would
do, and reshapes every sum. The values change by rounding alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import Written, read_once, rewrite

_REDUCTIONS = ("SUM", "MEAN")


def merge_factors(graph: Graph) -> Graph:
    """`graph` with reductions that keep their axes where a RESHAPE brought these back, and constant factors as one."""
    graph = _keep_axes(graph)
    while (merged := _merge_once(graph)) is not graph:
        graph = merged
    return _means(graph)


def _keep_axes(graph: Graph) -> Graph:
    written, once = Written(), read_once(graph)

    def reshape(b: Builder, op: Op) -> Tensor | None:
        reduction = written.by(b, op.inputs[0])
        if reduction is None or reduction.kind not in _REDUCTIONS or op.inputs[0] not in once:
            return None
        x, axes = reduction.inputs[0], [int(a) % len(reduction.inputs[0].shape) for a in reduction.inputs[1].data.flat]
        if op.outputs[0].shape != tuple(1 if i in axes else n for i, n in enumerate(x.shape)):
            return None
        return b.reduce(reduction.kind, x, axes, keep_dims=True)

    return remove_dead_code(rewrite(graph, {"RESHAPE": reshape}))


def _means(graph: Graph) -> Graph:
    """A sum divided by the number of its terms as MEAN; where it is added with a minus, as SUB of that."""
    written, once = Written(), read_once(graph)

    def mean_of(b: Builder, y: Tensor) -> tuple[Tensor, float] | None:
        """The operands of the SUM, and the factor behind it times the number of its terms, if that is 1 or -1."""
        product = written.by(b, y)
        if product is None or product.kind != "MUL" or _fused(product):
            return None
        total, number = _scaled(product)
        reduction = written.by(b, total)
        if reduction is None or reduction.kind != "SUM" or total not in once or total.shape != y.shape:
            return None
        sign = float(number.data.item()) * (reduction.inputs[0].size // total.size)
        return (reduction, np.sign(sign)) if abs(abs(sign) - 1) < 1e-6 else None

    def mean(b: Builder, reduction: Op) -> Tensor:
        return b.op("MEAN", reduction.inputs, reduction.outputs[0].shape, **reduction.attributes)

    def add(b: Builder, op: Op) -> Tensor | None:
        for x, y in (op.inputs, op.inputs[::-1]):
            found = mean_of(b, y) if y in once else None
            if found is not None and not _fused(op):
                reduction, sign = found
                return b.add(x, mean(b, reduction)) if sign > 0 else b.sub(x, mean(b, reduction))
        return None

    return remove_dead_code(rewrite(graph, {"ADD": add}))


def _merge_once(graph: Graph) -> Graph:
    """Every MUL by a number whose other operand is a product that nobody else reads: with a number, or of a smaller
    tensor, which is multiplied instead. `graph` itself where there is none."""
    written, once, found = Written(), read_once(graph), []

    def multiply(b: Builder, op: Op) -> Tensor | None:
        y, number = _scaled(op)
        inner = written.by(b, y)
        if inner is None or inner.kind != "MUL" or y not in once or _fused(inner) or y.shape != op.outputs[0].shape:
            return None
        x, other = _scaled(inner)
        small, large = sorted(inner.inputs, key=lambda t: t.size)
        if other is not None and x.shape == y.shape:
            product = float(number.data.item()) * float(other.data.item())
            result = b.mul(x, constant(product))
        elif not small.is_constant and small.size < large.size and large.shape == y.shape:
            result = b.mul(b.mul(small, number), large)
        else:
            return None
        found.append(op)
        if _fused(op):
            b.ops[-1] = dataclasses.replace(b.ops[-1], attributes=dict(op.attributes))
        return result

    merged = remove_dead_code(rewrite(graph, {"MUL": multiply}))
    return merged if found else graph


def _scaled(op: Op) -> tuple[Tensor | None, Tensor | None]:
    """The tensor and the number that a MUL multiplies; (None, None) where it does something else."""
    for x, number in (op.inputs, op.inputs[::-1]):
        if number.is_constant and number.size == 1 and not x.is_constant:
            return x, number
    return None, None


def _fused(op: Op) -> bool:
    return op.attributes.get("fused_activation_function", "NONE") != "NONE"
