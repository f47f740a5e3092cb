"""Sums and means."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule


@rule("SUM", "MEAN")
def _reduction(b, op, gradient, wanted):
    x = op.inputs[0]
    axes = {int(axis) % len(x.shape) for axis in op.inputs[1].data.ravel()}
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    if op.kind == "MEAN":
        gradient = b.scale(gradient, gradient.size / x.size)
    return b.broadcast(b.reshape(gradient, kept), x.shape), None
