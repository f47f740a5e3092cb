"""Pooling."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule

_ATTRIBUTES = ("filter_height", "filter_width", "stride_h", "stride_w", "padding")


@rule("AVERAGE_POOL_2D")
def _average_pool(b, op, gradient, wanted):
    attributes = {name: op.attributes[name] for name in _ATTRIBUTES}
    return (b.op("AVERAGE_POOL_2D_GRADIENT", (gradient,), op.inputs[0].shape, **attributes),)


@rule("MAX_POOL_2D")
def _max_pool(b, op, gradient, wanted):
    attributes = {name: op.attributes[name] for name in _ATTRIBUTES}
    inputs = (op.inputs[0], op.outputs[0], gradient)
    return (b.op("MAX_POOL_2D_GRADIENT", inputs, op.inputs[0].shape, **attributes),)
