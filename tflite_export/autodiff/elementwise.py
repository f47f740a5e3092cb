"""Arithmetic with broadcasting: the gradient of a stretched operand is summed back to its shape."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule


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
