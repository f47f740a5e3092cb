"""Activations. The piecewise linear ones need one bit per element; the others are told from their output."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant


@rule("RELU", "RELU6")
def _rectifier(b, op, gradient, wanted):
    (y,) = op.outputs
    mask = b.op("ACTIVATION_MASK", (y,), y.shape, "bool", activation=op.kind)
    return (b.op("APPLY_MASK", (gradient, mask), y.shape),)


@rule("LOGISTIC")
def _logistic(b, op, gradient, wanted):
    (y,) = op.outputs
    return (b.mul(gradient, b.mul(y, b.sub(constant(1), y))),)


@rule("TANH")
def _tanh(b, op, gradient, wanted):
    (y,) = op.outputs
    return (b.mul(gradient, b.sub(constant(1), b.mul(y, y))),)


@rule("SOFTMAX")
def _softmax(b, op, gradient, wanted):
    (y,) = op.outputs
    weighted = b.mul(gradient, y)
    total = b.sum(weighted, [len(y.shape) - 1], keep_dims=True)
    return (b.scale(b.sub(weighted, b.mul(y, total)), op.attributes.get("beta", 1.0)),)
