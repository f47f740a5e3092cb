"""Convolutions and dense layers, forward and backward, as the custom operators of `micro/tflm`.

A frozen kernel becomes int8 with a scale for every output channel, the same constants forward and backward; one that
trains stays float32. What the kernels do not take (dilation, a depthwise kernel that trains) stays as it is.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.fusion import combine_biases, fuse_activation, fuse_bias
from tflite_export.passes.rewrite import rewrite
from tflite_export.passes.small_constants import int8_steps

ACTIVATIONS = ("NONE", "RELU", "RELU6")
_ONE_PIXEL = {"stride_h": 1, "stride_w": 1, "pad_top": 0, "pad_left": 0, "groups": 1}


def as_custom_layers(graph: Graph) -> Graph:
    """`graph`, canonical, with custom operators for layers, their input gradients and kernel gradients."""
    graph = rewrite(graph, {"MATMUL": _product})
    graph = fuse_activation(fuse_bias(combine_biases(graph), dynamic=True))
    return rewrite(graph, _RULES)


def int8_by_channel(kernel: Tensor, axis: int) -> tuple[Tensor, Tensor] | None:
    """(int8 values, float32 scale of every slice along `axis`) of a constant that is made of them, else None."""
    if not kernel.is_constant or kernel.dtype != "float32":
        return None
    moved = np.moveaxis(kernel.data.reshape(kernel.shape), axis, 0)
    found = int8_steps(moved.reshape(len(moved), -1), of_parts=True)
    if found is None:
        return None
    values = np.ascontiguousarray(np.moveaxis(found[0].reshape(moved.shape), 0, axis))
    return dataclasses.replace(kernel, dtype="int8", data=values), constant(found[1], name="scale")


def _product(b: Builder, op: Op) -> Tensor | None:
    """A matrix product is a dense layer, or its gradient by the input or by the kernel.

    Of x @ m it is the input gradient of the layer with kernel m; of a frozen m whose columns are the int8 channels, the
    layer with the kernel turned.
    """
    x, matrix = op.inputs
    shape, turned = op.outputs[0].shape, op.attributes["adj_y"]
    if op.attributes["adj_x"]:
        if turned:
            return None
        return b.op("TINYTL_CONV_2D_KERNEL_GRADIENT", (matrix, x), shape, **_ONE_PIXEL, activation="NONE")
    if not turned and int8_by_channel(matrix, 0) is None and int8_by_channel(matrix, 1) is not None:
        data = np.ascontiguousarray(matrix.data.reshape(matrix.shape).T)
        matrix, turned = dataclasses.replace(matrix, shape=data.shape, data=data), True
    if turned:
        return b.op("FULLY_CONNECTED", (x, matrix, None), shape, fused_activation_function="NONE")
    inputs = (x, *_stored(matrix), None, None)
    return b.op("TINYTL_CONV_2D_INPUT_GRADIENT", inputs, shape, **_ONE_PIXEL, activation="NONE")


def _stored(kernel: Tensor) -> tuple[Tensor, Tensor | None]:
    """A kernel [output channels, …] and its scale, None if it is float32."""
    return int8_by_channel(kernel, 0) or (kernel, None)


def _dense(b: Builder, op: Op) -> Tensor:
    x, kernel, bias = op.inputs
    return _layer(b, op, "TINYTL_CONV_2D", (x, *_stored(kernel), bias), _ONE_PIXEL)


def _layer(b: Builder, op: Op, kind: str, inputs, window) -> Tensor:
    activation, shape = op.attributes["fused_activation_function"], op.outputs[0].shape
    if activation in ACTIVATIONS:
        return b.op(kind, inputs, shape, **window, activation=activation)
    return b.unary(activation, b.op(kind, inputs, shape, **window, activation="NONE"))


def _convolution(b: Builder, op: Op) -> Tensor | None:
    x, kernel, bias = op.inputs
    found = _kernel_and_window(op, x, kernel, op.outputs[0])
    if found is None:
        return None
    kind, stored, window = found
    return _layer(b, op, f"TINYTL_{kind}", (x, *stored, bias), window)


def _input_gradient(b: Builder, op: Op) -> Tensor | None:
    dy, kernel = op.inputs
    found = _kernel_and_window(op, op.outputs[0], kernel, dy)
    if found is None:
        return None
    kind, stored, window = found
    inputs = (dy, *stored, None, None)
    return b.op(f"TINYTL_{kind}_INPUT_GRADIENT", inputs, op.outputs[0].shape, **window, activation="NONE")


def _kernel_and_window(op: Op, x: Tensor, kernel: Tensor, y: Tensor):
    """(kind, (kernel, scale), window attributes) of the layer from x to y, or None where no kernel runs it.

    A depthwise layer that makes several channels of one is a convolution of as many groups as x has channels.
    """
    kind, groups = "CONV_2D", x.shape[3] // kernel.shape[3]
    if op.kind.startswith("DEPTHWISE"):
        stored = int8_by_channel(kernel, 3)
        if stored is None:
            return None
        if kernel.shape[3] == x.shape[3]:
            kind, groups = "DEPTHWISE_CONV_2D", 1
        else:
            data = np.ascontiguousarray(stored[0].data.transpose(3, 1, 2, 0))
            groups, stored = x.shape[3], (dataclasses.replace(stored[0], shape=data.shape, data=data), stored[1])
    else:
        stored = _stored(kernel)
    window = _window(op, x.shape[1:3], kernel.shape[1:3], y.shape[1:3])
    return None if window is None else (kind, stored, {**window, "groups": groups})


def _window(op: Op, size, kernel, out) -> dict[str, int] | None:
    """Strides and padding in front, within what `tinytl_window` (tinytl/types.h) allows."""
    stride = op.attributes["stride_h"], op.attributes["stride_w"]
    dilation = op.attributes.get("dilation_h_factor", 1), op.attributes.get("dilation_w_factor", 1)
    front = [pair[0] for pair in explicit_padding(op.attributes["padding"], size, kernel, stride, dilation)]
    last = [(n - 1) * s - pad for n, s, pad in zip(out, stride, front)]
    legal = all(pad < k and begin < n for pad, k, begin, n in zip(front, kernel, last, size))
    if dilation != (1, 1) or not legal:
        return None
    return {"stride_h": stride[0], "stride_w": stride[1], "pad_top": front[0], "pad_left": front[1]}


def _kernel_gradient(b: Builder, op: Op) -> Tensor | None:
    (x, dy), shape = op.inputs, op.outputs[0].shape
    window = _window(op, x.shape[1:3], shape[1:3], dy.shape[1:3])
    if window is None:
        return None
    groups = x.shape[3] // shape[3]
    return b.op("TINYTL_CONV_2D_KERNEL_GRADIENT", (x, dy), shape, **window, groups=groups, activation="NONE")


_RULES = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _dense,
    "CONV_2D_INPUT_GRADIENT": _input_gradient,
    "DEPTHWISE_CONV_2D_INPUT_GRADIENT": _input_gradient,
    "CONV_2D_KERNEL_GRADIENT": _kernel_gradient,
}
