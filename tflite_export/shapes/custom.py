"""Our custom operators of TFLite Micro (`graph.CUSTOM`).

The size of a layer's output is the file's to say, within what its window allows: padding behind follows from it.
"""

from __future__ import annotations

import math

from tflite_export.graph import CUSTOM, Op, Tensor
from tflite_export.shapes.operands import Shape, expect, expect_dtype, expect_rank

_SLOTS = {"SGD": 0, "MOMENTUM": 1, "ADAM": 2}


def _map(op: Op, tensor: Tensor) -> Shape:
    expect_rank(op, tensor, 2, 4)
    expect_dtype(op, tensor, "float32")
    return tensor.shape if len(tensor.shape) == 4 else (tensor.shape[0], 1, 1, tensor.shape[1])


def _elements(op: Op, tensor: Tensor | None, dtype: str, count: int, what: str) -> None:
    if tensor is not None:
        expect_dtype(op, tensor, dtype)
        expect(op, tensor.size == count, f"{what} {tensor}", f"{count} elements")


def _mask_bytes(shape: Shape) -> int:
    return math.prod(shape[:-1]) * -(-shape[-1] // 8)


def _check_window(op: Op, x: Shape, y: Shape, size: Shape) -> None:
    strides = op.attributes["stride_h"], op.attributes["stride_w"]
    front = op.attributes["pad_top"], op.attributes["pad_left"]
    expect(
        op, min(strides) > 0 and min(front) >= 0, f"strides {strides}, padding {front}", "strides from 1, no negative"
    )
    fits = all(p < k and (n - 1) * s - p < m for p, k, n, s, m in zip(front, size, y[1:3], strides, x[1:3]))
    expect(op, fits and x[0] == y[0], f"{list(x)} and {list(y)} by windows of {list(size)}", "windows in the map")


def _check_layer(op: Op, x: Tensor, kernel: Tensor, scale: Tensor | None, y: Tensor) -> None:
    """A layer from x to y."""
    x, y = _map(op, x), _map(op, y)
    shape = kernel.shape if len(kernel.shape) == 4 else (*kernel.shape[:1], 1, 1, *kernel.shape[1:])
    expect_rank(op, kernel, 2, 4)
    expect_dtype(op, kernel, "int8" if scale is not None else "float32")
    _elements(op, scale, "float32", y[3], "the scale")
    groups = op.attributes["groups"]
    if "DEPTHWISE" in op.kind:
        expect(op, (shape[0], shape[3], y[3]) == (1, x[3], x[3]), f"{kernel}", f"[1, height, width, {x[3]}]")
    else:
        fits = groups > 0 and x[3] % groups == y[3] % groups == 0 and (shape[0], shape[3] * groups) == (y[3], x[3])
        expect(op, fits, f"{kernel} in {groups} groups", f"one from {x[3]} channels to {y[3]}")
    _check_window(op, x, y, shape[1:3])


def _layer(op, x, kernel, scale=None, bias=None):
    expect(op, len(op.outputs) in (1, 2), f"{len(op.outputs)} outputs", "1 or 2")
    (y, *masks) = op.outputs
    _check_layer(op, x, kernel, scale, y)
    _elements(op, bias, "float32", y.shape[-1], "the bias")
    return [y.shape, *((_mask_bytes(y.shape),) for _ in masks)]


def _input_gradient(op, dy, kernel, scale=None, mask_below=None, other=None):
    (dx,) = op.outputs
    _check_layer(op, dx, kernel, scale, dy)
    _elements(op, mask_below, "uint8", _mask_bytes(dx.shape), "mask_below")
    _elements(op, other, "float32", dx.size, "the other gradient")
    return [dx.shape]


def _check_kernel_gradient(op: Op, x: Tensor, dy: Tensor, kernel: Tensor) -> None:
    _check_layer(op, x, kernel, None, dy)


def _kernel_gradient(op, x, dy):
    _check_kernel_gradient(op, x, dy, op.outputs[0])
    return [op.outputs[0].shape]


def _variable(op: Op, value: Tensor, rate, step, gradient_scale, slots) -> list[Shape]:
    wanted = _SLOTS[op.attributes["optimizer"]]
    expect(op, len(slots) == wanted, f"{len(slots)} slots", f"{wanted} of {op.attributes['optimizer']}")
    expect(op, step is not None or wanted < 2, "no step", "Adam's count of steps")
    _elements(op, rate, "float32", 1, "the learning rate")
    _elements(op, step, "int32", 1, "the step")
    _elements(op, gradient_scale, "float32", 1, "the gradient scale")
    for tensor in (value, *slots):
        _elements(op, tensor, "float32", value.size, "a tensor of the variable")
    return [value.shape] * (1 + wanted)


def _kernel_update(op, x, dy, value, rate, step=None, gradient_scale=None, *slots):
    _check_kernel_gradient(op, x, dy, value)
    return _variable(op, value, rate, step, gradient_scale, slots)


def _bias_gradient(op, dy, mask=None):
    shape = _map(op, dy)
    _elements(op, mask, "uint8", _mask_bytes(shape), "the mask")
    return [shape[-1:]] if mask is None else [shape[-1:], dy.shape]


def _bias_update(op, dy, mask=None, value=None, rate=None, step=None, gradient_scale=None, *slots):
    shape = _map(op, dy)
    expect(op, value is not None and rate is not None, "no bias or no learning rate", "both")
    _elements(op, mask, "uint8", _mask_bytes(shape), "the mask")
    _elements(op, value, "float32", shape[-1], "the bias")
    shapes = _variable(op, value, rate, step, gradient_scale, slots)
    return shapes if mask is None else [*shapes, dy.shape]


def _update(op, gradient, value, rate, step=None, gradient_scale=None, *slots):
    _elements(op, gradient, "float32", value.size, "the gradient")
    return _variable(op, value, rate, step, gradient_scale, slots)


_BY_ENDING = {
    "_INPUT_GRADIENT": _input_gradient,
    "_KERNEL_GRADIENT": _kernel_gradient,
    "_KERNEL_UPDATE": _kernel_update,
    "BIAS_GRADIENT": _bias_gradient,
    "BIAS_UPDATE": _bias_update,
    "TINYTL_UPDATE": _update,
    "CONV_2D": _layer,
}
RULES = {kind: next(rule for ending, rule in _BY_ENDING.items() if kind.endswith(ending)) for kind in CUSTOM}
