"""Activations.

The piecewise linear ones need one bit per element, most of the others are told from their output. What is told from the
input is computed in the backward pass from nothing but that input, so that one map is kept.
"""

from __future__ import annotations

import math

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant
from tflite_export.constants import SELU_ALPHA, SELU_SCALE
from tflite_export.steps import sign

_TINY = 1e-30
_CUBIC = 0.044715  # of GELU's approximation by tanh


def _positive(b, x):
    """Where x > 0, as a mask."""
    return b.op("POSITIVE_MASK", (x,), x.shape, "bool")


def _apply(b, gradient, mask):
    return b.op("APPLY_MASK", (gradient, mask), mask.shape)


@rule("RELU", "RELU6")
def _rectifier(b, op, gradient, wanted):
    (y,) = op.outputs
    mask = b.op("ACTIVATION_MASK", (y,), y.shape, "bool", activation=op.kind)
    return (_apply(b, gradient, mask),)


@rule("RELU_N1_TO_1", "RELU_0_TO_1")
def _clip(b, op, gradient, wanted):
    """TensorFlow's clip_by_value, which is what becomes of these, has slope one at both ends too."""
    mask = b.op("EQUAL_MASK", (op.inputs[0], op.outputs[0]), op.outputs[0].shape, "bool")
    return (_apply(b, gradient, mask),)


@rule("LEAKY_RELU")
def _leaky_relu(b, op, gradient, wanted):
    """Slope alpha at 0. With a negative alpha the output does not tell the side."""
    alpha = op.attributes["alpha"]
    mask = _positive(b, op.outputs[0] if alpha > 0 else op.inputs[0])
    return (b.add(b.scale(gradient, alpha), b.scale(_apply(b, gradient, mask), 1 - alpha)),)


@rule("PRELU")
def _prelu(b, op, gradient, wanted):
    """Slope 0 at 0, for Keras's PReLU is relu(x) - alpha * relu(-x)."""
    x, alpha = op.inputs
    dx = dalpha = None
    below = b.scale(x, -1)
    if wanted[0]:
        left = b.mul(_apply(b, gradient, _positive(b, below)), alpha)
        dx = b.sum_to(b.add(_apply(b, gradient, _positive(b, x)), left), x.shape)
    if wanted[1]:
        dalpha = b.scale(b.sum_to(b.mul(gradient, b.unary("RELU", below)), alpha.shape), -1)
    return dx, dalpha


@rule("ELU")
def _elu(b, op, gradient, wanted):
    slope = b.add(b.minimum(op.outputs[0], constant(0)), constant(1))
    return (b.mul(gradient, slope),)


@rule("SELU")
def _selu(b, op, gradient, wanted):
    """SELU_SCALE from 0 on, the output + SELU_SCALE * SELU_ALPHA below."""
    below = b.minimum(op.outputs[0], constant(0))
    jump = b.scale(sign(b, below), SELU_SCALE - SELU_SCALE * SELU_ALPHA)
    return (b.mul(gradient, b.add(b.add(below, jump), constant(SELU_SCALE))),)


@rule("LOGISTIC")
def _logistic(b, op, gradient, wanted):
    (y,) = op.outputs
    return (b.mul(gradient, b.mul(y, b.sub(constant(1), y))),)


@rule("TANH")
def _tanh(b, op, gradient, wanted):
    (y,) = op.outputs
    return (b.mul(gradient, b.sub(constant(1), b.mul(y, y))),)


@rule("SOFTPLUS")
def _softplus(b, op, gradient, wanted):
    return (b.mul(gradient, b.unary("LOGISTIC", op.inputs[0])),)


@rule("SWISH")
def _swish(b, op, gradient, wanted):
    """s (1 + x (1 - s)) with s = LOGISTIC(x)."""
    (x,) = op.inputs
    s = b.unary("LOGISTIC", x)
    slope = b.mul(s, b.add(b.mul(x, b.sub(constant(1), s)), constant(1)))
    return (b.mul(gradient, slope),)


@rule("HARD_SWISH")
def _hard_swish(b, op, gradient, wanted):
    """(2x + 3) / 6 between -3 and 3, where it is r + (r - 3) of r = relu6(x + 3); outside r, which is 0 or 6.

    At -3 and 3 themselves 0 and 1, as in TensorFlow.
    """
    r = b.unary("RELU6", b.add(op.inputs[0], constant(3)))
    inside = sign(b, b.mul(r, b.sub(constant(6), r)))
    slope = b.scale(b.add(b.mul(inside, b.sub(r, constant(3))), r), 1 / 6)
    return (b.mul(gradient, slope),)


@rule("HARD_SWISH_ONE_BIT", "SWISH_ONE_BIT")
def _one_bit(b, op, gradient, wanted):
    """The output is positive just where the input is."""
    return (_apply(b, gradient, _positive(b, op.outputs[0])),)


@rule("GELU")
def _gelu(b, op, gradient, wanted):
    slope = _gelu_slope_by_tanh if op.attributes.get("approximate", False) else _gelu_slope
    return (b.mul(gradient, slope(b, op.inputs[0])),)


def _gelu_slope(b, x):
    """Phi(x) + x phi(x), of the normal distribution.

    There is no operator for Phi but GELU(x) = x Phi(x) itself. So Phi(x) - 1/2 = (GELU(x) - x/2) x / x^2, whose
    numerator is so small near 0 that a tiny number in the denominator replaces 0 / 0 by 0.
    """
    square = b.mul(x, x)
    odd = b.mul(b.sub(b.unary("GELU", x, approximate=False), b.scale(x, 0.5)), x)
    phi = b.scale(b.unary("EXP", b.scale(square, -0.5)), 1 / math.sqrt(2 * math.pi))
    distribution = b.add(b.div(odd, b.add(square, constant(_TINY))), constant(0.5))
    return b.add(distribution, b.mul(x, phi))


def _gelu_slope_by_tanh(b, x):
    """Of x (1 + t) / 2 with t = tanh(c (x + 0.044715 x^3)), c = sqrt(2 / pi)."""
    c, square = math.sqrt(2 / math.pi), b.mul(x, x)
    t = b.unary("TANH", b.mul(x, b.add(b.scale(square, c * _CUBIC), constant(c))))
    inner = b.mul(x, b.add(b.scale(square, 3 * c * _CUBIC), constant(c)))
    bent = b.mul(inner, b.sub(constant(1), b.mul(t, t)))
    return b.scale(b.add(b.add(t, bent), constant(1)), 0.5)


@rule("SOFTMAX")
def _softmax(b, op, gradient, wanted):
    (y,) = op.outputs
    weighted = b.mul(gradient, y)
    total = b.sum(weighted, [len(y.shape) - 1], keep_dims=True)
    return (b.scale(b.sub(weighted, b.mul(y, total)), op.attributes.get("beta", 1.0)),)


@rule("LOG_SOFTMAX")
def _log_softmax(b, op, gradient, wanted):
    (y,) = op.outputs
    total = b.sum(gradient, [len(y.shape) - 1], keep_dims=True)
    return (b.sub(gradient, b.mul(b.unary("EXP", y), total)),)
