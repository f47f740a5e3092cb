"""Sums, means and extrema."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant


@rule("SUM", "MEAN")
def _reduction(b, op, gradient, wanted):
    x = op.inputs[0]
    axes = {int(axis) % len(x.shape) for axis in op.inputs[1].data.ravel()}
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    if op.kind == "MEAN":
        gradient = b.scale(gradient, gradient.size / x.size)
    return b.broadcast(b.reshape(gradient, kept), x.shape), None


@rule("REDUCE_MAX", "REDUCE_MIN")
def _extremum(b, op, gradient, wanted):
    """All that are equal to the extremum share the gradient, as in TensorFlow. The axes are kept (`canonical`)."""
    (x, axes), (y,) = op.inputs, op.outputs
    mask = b.op("EQUAL_MASK", (x, y), x.shape, "bool")
    hits = b.op("APPLY_MASK", (constant(1), mask), x.shape)
    share = b.div(gradient, b.sum(hits, axes.data.ravel().tolist(), keep_dims=True))
    return b.mul(hits, share), None
