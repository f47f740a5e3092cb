"""Gradients of the C operators, for `autodiff.differentiate`: one rule per kind of `forms.FORWARD`.

A rule that needs what only the forward kernel knows (which elements an activation passed, a group's mean) names the
forward output; `saved` exchanges it for what that kernel writes besides.
"""

from __future__ import annotations

from tflite_export.graph import Op, Tensor
from tflite_export.micro.forms import taps


def _convolution(b, op, gradient, wanted):
    x, kernel, bias = op.inputs
    gradient = _before_activation(b, op, gradient)
    dx = dk = db = None
    attributes = {name: op.attributes[name] for name in ("stride", "padding", "groups", "activation")}
    if bias is not None and wanted[2]:
        db = b.op("bias_gradient", (gradient,), bias.shape)
    if wanted[0]:
        dx = b.op(f"{op.kind}_input_gradient", (gradient, kernel), x.shape, **attributes)
    if wanted[1]:
        shape = {"kernel": kernel.shape, "taps": taps(op)}
        dk = b.op(f"{op.kind}_kernel_gradient", (x, gradient), kernel.shape, **attributes, **shape)
    return dx, dk, db


def _before_activation(b, op, gradient):
    if op.attributes["activation"] == "NONE":
        return gradient
    return b.op("masked", (gradient, op.outputs[0]), gradient.shape)


def _add(b, op, gradient, wanted):
    return [gradient if w else None for w in wanted]


def _subtract(b, op, gradient, wanted):
    return gradient if wanted[0] else None, _scaled(b, gradient, -1.0) if wanted[1] else None


def _multiply(b, op, gradient, wanted):
    x, y = op.inputs
    dx = b.op("multiply", (gradient, y), x.shape) if wanted[0] else None
    dy = b.op("multiply", (gradient, x), y.shape) if wanted[1] else None
    return dx, dy


def _scale(b, op, gradient, wanted):
    return (_scaled(b, gradient, op.attributes["multiplier"]),)


def _scaled(b, x, multiplier):
    return x if multiplier == 1 else b.op("scale", (x,), x.shape, multiplier=multiplier, offset=0.0)


def _rectify(b, op, gradient, wanted):
    return (_before_activation(b, op, gradient),)


def _group_norm(b, op, gradient, wanted):
    """One kernel makes all three; what nobody wants it leaves out."""
    x, gamma, _ = op.inputs
    gradient = _before_activation(b, op, gradient)
    names = [f"{op.origin}/{role}_gradient" for role in ("x", "gamma", "beta")]
    made = [Tensor(name, t.shape) if w else None for name, t, w in zip(names, op.inputs, wanted)]
    attributes = {name: op.attributes[name] for name in ("groups", "epsilon", "activation")}
    roles = tuple(role for role, tensor in zip(("x", "gamma", "beta"), made) if tensor is not None)
    outputs = tuple(tensor for tensor in made if tensor is not None)
    inputs = (x, gamma, gradient, op.outputs[0])
    b.copy(Op("group_norm_gradient", inputs, outputs, {**attributes, "roles": roles}, op.origin))
    return made


def _average_pool(b, op, gradient, wanted):
    return (b.op("average_pool_gradient", (gradient,), op.inputs[0].shape, **op.attributes),)


def _max_pool(b, op, gradient, wanted):
    return (b.op("max_pool_gradient", (gradient, op.outputs[0]), op.inputs[0].shape, **op.attributes),)


def _mean(b, op, gradient, wanted):
    return (b.op("mean_gradient", (gradient,), op.inputs[0].shape),)


def _bilinear(b, op, gradient, wanted):
    return (b.op("bilinear_gradient", (gradient,), op.inputs[0].shape, **op.attributes),)


def _straight_through(b, op, gradient, wanted):
    """Rounding is taken for nothing."""
    return gradient, None


def _bilinear_add(b, op, gradient, wanted):
    return *(_bilinear(b, op, gradient, wanted) if wanted[0] else (None,)), gradient


def _reshape(b, op, gradient, wanted):
    return (b.op("reshape", (gradient,), op.inputs[0].shape),)


RULES = {
    "conv": _convolution,
    "depthwise": _convolution,
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "scale": _scale,
    "rectify": _rectify,
    "group_norm": _group_norm,
    "average_pool": _average_pool,
    "max_pool": _max_pool,
    "mean": _mean,
    "bilinear": _bilinear,
    "bilinear_add": _bilinear_add,
    "quantize": _straight_through,
    "dequantize": _straight_through,
    "quantize_bias": _straight_through,
    "reshape": _reshape,
}
