"""Arithmetic with broadcasting: the gradient of a stretched operand is summed back to its shape."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule
from tflite_export.builder import constant


@rule("ADD")
def _add(b, op, gradient, wanted):
    return [b.sum_to(gradient, t.shape) if w else None for t, w in zip(op.inputs, wanted)]


@rule("SUB")
def _sub(b, op, gradient, wanted):
    x, y = op.inputs
    dx = b.sum_to(gradient, x.shape) if wanted[0] else None
    dy = b.mul(b.sum_to(gradient, y.shape), constant(-1)) if wanted[1] else None
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
    dy = b.mul(b.sum_to(b.mul(quotient, op.outputs[0]), y.shape), constant(-1)) if wanted[1] else None
    return dx, dy
