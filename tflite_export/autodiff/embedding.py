"""Rows of a table, looked up by integers: an embedding that trains."""

from __future__ import annotations

import numpy as np

from tflite_export.autodiff.registry import NotDifferentiable, rule
from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor


@rule("GATHER")
def _gather(b: Builder, op: Op, gradient: Tensor, wanted) -> tuple[Tensor | None, None]:
    """Every row of the table gets the sum over the places that took it: which places those are, times the gradient.

    That is a matrix [rows, places], so a table of many rows costs memory in a step.
    """
    table, indices = op.inputs
    if op.attributes.get("axis", 0) or op.attributes.get("batch_dims", 0):
        raise NotDifferentiable(
            f"layer {op.origin!r}: there is a gradient of GATHER along axis 0 alone. Freeze the layers before it"
        )
    rows, width = table.shape[0], table.size // table.shape[0]
    places = b.reshape(indices, (1, indices.size))
    taken = b.compare("EQUAL", constant(np.arange(rows)[:, None], indices.dtype), places)
    summed = b.matmul(b.cast(taken, "float32"), b.reshape(gradient, (indices.size, width)))
    return b.reshape(summed, table.shape), None
