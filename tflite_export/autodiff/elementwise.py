"""Arithmetic with broadcasting: the gradient of a stretched operand is summed back to its shape."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant
from tflite_export.steps import sign


@rule("ADD")
def _add(b, op, gradient, wanted):
    return [b.sum_to(gradient, t.shape) if w else None for t, w in zip(op.inputs, wanted)]


@rule("SUB")
def _sub(b, op, gradient, wanted):
    x, y = op.inputs
    dx = b.sum_to(gradient, x.shape) if wanted[0] else None
    dy = b.scale(b.sum_to(gradient, y.shape), -1) if wanted[1] else None
    return dx, dy


@rule("MUL")
def _mul(b, op, gradient, wanted):
    x, y = op.inputs
    dx = b.sum_to(b.mul(gradient, y), x.shape) if wanted[0] else None
    dy = b.sum_to(b.mul(gradient, x), y.shape) if wanted[1] else None
    return dx, dy


@rule("DIV")
def _div(b, op, gradient, wanted):
    x, y = op.inputs
    quotient = b.div(gradient, y)
    dx = b.sum_to(quotient, x.shape) if wanted[0] else None
    dy = b.scale(b.sum_to(b.mul(quotient, op.outputs[0]), y.shape), -1) if wanted[1] else None
    return dx, dy


@rule("SQUARED_DIFFERENCE")
def _squared_difference(b, op, gradient, wanted):
    x, y = op.inputs
    product = b.scale(b.mul(gradient, b.sub(x, y)), 2)
    dx = b.sum_to(product, x.shape) if wanted[0] else None
    dy = b.scale(b.sum_to(product, y.shape), -1) if wanted[1] else None
    return dx, dy


@rule("SQUARE")
def _square(b, op, gradient, wanted):
    return (b.scale(b.mul(gradient, op.inputs[0]), 2),)


@rule("SQRT")
def _sqrt(b, op, gradient, wanted):
    return (b.scale(b.div(gradient, op.outputs[0]), 0.5),)


@rule("RSQRT")
def _rsqrt(b, op, gradient, wanted):
    (y,) = op.outputs
    return (b.scale(b.mul(gradient, b.mul(y, b.mul(y, y))), -0.5),)


@rule("EXP")
def _exp(b, op, gradient, wanted):
    return (b.mul(gradient, op.outputs[0]),)


@rule("LOG")
def _log(b, op, gradient, wanted):
    return (b.div(gradient, op.inputs[0]),)


@rule("NEG")
def _neg(b, op, gradient, wanted):
    return (b.scale(gradient, -1),)


@rule("ABS")
def _abs(b, op, gradient, wanted):
    """Slope 0 at 0."""
    return (b.mul(gradient, sign(b, op.inputs[0])),)


@rule("SIN")
def _sin(b, op, gradient, wanted):
    return (b.mul(gradient, b.unary("COS", op.inputs[0])),)


@rule("COS")
def _cos(b, op, gradient, wanted):
    return (b.scale(b.mul(gradient, b.unary("SIN", op.inputs[0])), -1),)


@rule("MINIMUM", "MAXIMUM")
def _extremum(b, op, gradient, wanted):
    """Of two equal operands the first takes the gradient, as in TensorFlow."""
    x, y = op.inputs
    (z,) = op.outputs
    mask = b.op("EQUAL_MASK", (x, z), z.shape, "bool")
    first = b.op("APPLY_MASK", (gradient, mask), z.shape)
    dx = b.sum_to(first, x.shape) if wanted[0] else None
    dy = b.sum_to(b.sub(gradient, first), y.shape) if wanted[1] else None
    return dx, dy


@rule("POW")
def _pow(b, op, gradient, wanted):
    """The exponent's gradient is z log(x), and 0 where x is not positive, as in TensorFlow."""
    x, exponent = op.inputs
    (z,) = op.outputs
    dx = dy = None
    if wanted[0]:
        slope = b.mul(exponent, b.binary("POW", x, b.sub(exponent, constant(1))))
        dx = b.sum_to(b.mul(gradient, slope), x.shape)
    if wanted[1]:
        positive = b.compare("GREATER", x, constant(0))
        logarithm = b.unary("LOG", b.select(positive, x, constant(1)))
        dy = b.sum_to(b.mul(gradient, b.mul(z, logarithm)), exponent.shape)
    return dx, dy


@rule("SELECT_V2")
def _select(b, op, gradient, wanted):
    """Nothing depends smoothly on the condition."""
    condition, x, y = op.inputs
    dx = b.sum_to(b.select(condition, gradient, constant(0)), x.shape) if wanted[1] else None
    dy = b.sum_to(b.select(condition, constant(0), gradient), y.shape) if wanted[2] else None
    return None, dx, dy


@rule("CAST")
def _cast(b, op, gradient, wanted):
    """From one float type to another; whole numbers and truth values have no gradient."""
    dtype = op.inputs[0].dtype
    return (b.cast(gradient, dtype) if dtype.startswith("float") else None,)
