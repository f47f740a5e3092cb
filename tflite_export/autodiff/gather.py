"""Entries picked along an axis: a choice that is fixed, or rows of a table looked up by integers (an embedding)."""

from __future__ import annotations

import numpy as np

from tflite_export.autodiff.registry import NotDifferentiable, rule
from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor


@rule("GATHER")
def _gather(b: Builder, op: Op, gradient: Tensor, wanted) -> tuple[Tensor | None, None]:
    axis = op.attributes.get("axis", 0)
    if op.inputs[1].is_constant and op.inputs[1].data.ndim == 1:
        return _of_fixed_choice(b, op, gradient, axis), None
    if axis or op.attributes.get("batch_dims", 0):
        raise NotDifferentiable(
            f"layer {op.origin!r}: of indices that are computed there is a gradient of GATHER along axis 0 alone. "
            "Freeze the layers before it"
        )
    return _of_table(b, *op.inputs, gradient), None


def _of_fixed_choice(b: Builder, op: Op, gradient: Tensor, axis: int) -> Tensor:
    """A permutation is undone by its inverse, all else summed up by a matrix of zeros and ones."""
    x, chosen = op.inputs[0], op.inputs[1].data
    places = np.arange(x.shape[axis])
    if np.array_equal(np.sort(chosen), places):
        return b.gather(gradient, np.argsort(chosen), axis)
    return b.matmul_along(places[:, None] == chosen, gradient, axis)


def _of_table(b: Builder, table: Tensor, indices: Tensor, gradient: Tensor) -> Tensor:
    """Every row of the table gets the sum over the places that took it: which places those are, times the gradient.

    That is a matrix [rows, places], so a table of many rows costs memory in a step.
    """
    rows, width = table.shape[0], table.size // table.shape[0]
    places = b.reshape(indices, (1, indices.size))
    taken = b.compare("EQUAL", constant(np.arange(rows)[:, None], indices.dtype), places)
    summed = b.matmul(b.cast(taken, "float32"), b.reshape(gradient, (indices.size, width)))
    return b.reshape(summed, table.shape)
