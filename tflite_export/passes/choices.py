"""GATHER with constant indices where a runtime has none."""

from __future__ import annotations

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Op, Tensor

_MOST_SLICES = 16


def gather_by_slices(b: Builder, op: Op) -> Tensor | None:
    """Runs of places that follow one another as slices, joined; many short runs as a product with zeros and ones."""
    x, indices = op.inputs
    if x.dtype != "float32" or not indices.is_constant or indices.data.ndim != 1 or op.attributes.get("batch_dims", 0):
        return None
    axis = op.attributes["axis"] % len(x.shape)
    runs = np.split(indices.data, np.flatnonzero(np.diff(indices.data) != 1) + 1)
    if len(runs) > _MOST_SLICES:
        return b.matmul_along(indices.data[:, None] == np.arange(x.shape[axis]), x, axis)
    parts = [b.gather(x, run, axis) for run in runs]
    return parts[0] if len(parts) == 1 else b.concatenate(parts, axis)
