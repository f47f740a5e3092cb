"""C operators back in the compiler's own: what their forward pass is, for numpy to compute and to differentiate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.micro.kernels import Layout
from tflite_export.micro.quantize import dequantised

Wrap = Callable[[Builder, Op, Tensor], Tensor]


def raised(forward: Graph, layouts: Mapping[str, Layout], wrap: Wrap | None = None) -> tuple[Graph, dict]:
    """`forward`, a graph of C operators, in canonical ones, on floats, with ``logits`` as its output; and the canonical
    tensor of every tensor of it.

    Args:
        layouts: how the program keeps its variables. The result reads them as Keras keeps them.
        wrap: makes of what an operator gives before its activation the value that it has; the activation if None.
    """
    b, found = Builder(), {}
    for name, x in forward.inputs.items():
        found[x] = Tensor(name, x.shape)
    for op in forward.ops:
        with b.at(op.origin):
            if op.kind == "READ_VARIABLE":
                value = _read(b, op.attributes["variable"], layouts[op.attributes["variable"].name])
            else:
                value = before_activation(b, op, [_operand(t, found) for t in op.inputs])
                value = (wrap or activated)(b, op, value)
        found[op.outputs[0]] = value
    inputs = {name: found[x] for name, x in forward.inputs.items()}
    outputs = {name: found[t] for name, t in forward.outputs.items()}
    return Graph("raised", inputs, outputs, tuple(b.ops)), found


def _operand(tensor: Tensor | None, found) -> Tensor | None:
    if tensor is None or not tensor.is_constant:
        return None if tensor is None else found[tensor]
    return dequantised(tensor) if tensor.quantization is not None else tensor


def _read(b: Builder, variable: Variable, layout: Layout) -> Tensor:
    turned = np.asarray(variable.initial).reshape([layout.shape[axis] for axis in layout.permutation])
    keras_s = np.ascontiguousarray(np.transpose(turned, np.argsort(layout.permutation)))
    value = b.read(Variable(variable.name, keras_s))
    if layout.permutation != tuple(range(len(layout.shape))):
        value = b.transpose(value, layout.permutation)
    return b.reshape(value, variable.shape)


def activated(b: Builder, op: Op, y: Tensor) -> Tensor:
    """`y` behind the activation of `op`."""
    activation = op.attributes.get("activation", "NONE")
    return y if activation == "NONE" else b.unary(activation, y)


def before_activation(b: Builder, op: Op, inputs: Sequence[Tensor | None]) -> Tensor:
    """Adds what a C operator computes of `inputs`, as floats, without its activation."""
    return _RAISED[op.kind](b, op, *inputs)


def _convolution(b: Builder, op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    (y,), attributes = op.outputs, op.attributes
    if op.kind == "conv" and (len(x.shape) != 4 or len(kernel.shape) != 4):
        rows = b.reshape(x, (x.size // x.shape[-1], x.shape[-1]))
        product = b.matmul(rows, _matrix(b, kernel), adj_y=True)
    elif op.kind == "conv":
        product = b.conv_2d(x, kernel, attributes["stride"], attributes["padding"])
    else:
        product = b.depthwise_conv_2d(x, kernel, attributes["stride"], attributes["padding"])
    product = b.reshape(product, y.shape)
    return product if bias is None else b.add(product, bias)


def _matrix(b: Builder, kernel: Tensor) -> Tensor:
    shape = (kernel.shape[0], kernel.size // kernel.shape[0])
    return constant(kernel.data.reshape(shape)) if kernel.is_constant else b.reshape(kernel, shape)


def _scale(b: Builder, op: Op, x: Tensor) -> Tensor:
    return b.add(b.scale(x, op.attributes["multiplier"]), constant(op.attributes["offset"]))


def _group_norm(b: Builder, op: Op, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    _, height, width, channels = x.shape
    groups = op.attributes["groups"]
    parts = b.reshape(x, (1, height * width, groups, channels // groups))
    centred = b.sub(parts, b.reduce("MEAN", parts, (1, 3), keep_dims=True))
    variance = b.reduce("MEAN", b.unary("SQUARE", centred), (1, 3), keep_dims=True)
    root = b.unary("RSQRT", b.add(variance, constant(op.attributes["epsilon"])))
    normal = b.reshape(b.mul(centred, root), x.shape)
    return b.add(b.mul(normal, gamma), beta)


def _pool(kind: str):
    def rule(b: Builder, op: Op, x: Tensor) -> Tensor:
        (height, width), (down, right) = op.attributes["window"], op.attributes["stride"]
        attributes = {"filter_height": height, "filter_width": width, "stride_h": down, "stride_w": right}
        return b.op(kind, (x,), op.outputs[0].shape, padding=op.attributes["padding"], **attributes)

    return rule


def _mean(b: Builder, op: Op, x: Tensor) -> Tensor:
    return b.reshape(b.reduce("MEAN", x, (1, 2)), op.outputs[0].shape)


def _bilinear(b: Builder, op: Op, x: Tensor) -> Tensor:
    shape = op.outputs[0].shape
    return b.op("RESIZE_BILINEAR", (x, integers(shape[1:3])), shape, **op.attributes)


def _bilinear_add(b: Builder, op: Op, x: Tensor, total: Tensor) -> Tensor:
    return b.add(_bilinear(b, op, x), total)


def _same(b: Builder, op: Op, x: Tensor, *_) -> Tensor:
    return b.reshape(x, op.outputs[0].shape)


_RAISED = {
    "conv": _convolution,
    "depthwise": _convolution,
    "add": lambda b, op, x, y: b.add(x, b.reshape(y, x.shape)),
    "subtract": lambda b, op, x, y: b.sub(x, b.reshape(y, x.shape)),
    "multiply": lambda b, op, x, y: b.mul(x, b.reshape(y, x.shape)),
    "scale": _scale,
    "rectify": _same,
    "group_norm": _group_norm,
    "average_pool": _pool("AVERAGE_POOL_2D"),
    "max_pool": _pool("MAX_POOL_2D"),
    "mean": _mean,
    "bilinear": _bilinear,
    "bilinear_add": _bilinear_add,
    "reshape": _same,
    "pixels": _same,  # the reference gets the values that the bytes stand for
    "quantize": _same,
    "dequantize": _same,
    "quantize_bias": _same,
}
