"""The form that automatic differentiation reads: one operator, one job.

No fused activation, no bias inside a convolution, explicit padding, matrices as MATMUL, and one operator for every
change of shape. `fusion` puts back together what a runtime does better in one go.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph, Op, Tensor, consumers
from tflite_export.passes import canonical_moves
from tflite_export.passes.activation_patterns import name_activations
from tflite_export.passes.dilation import dilate_convolutions
from tflite_export.passes.probabilities_last import probabilities_last
from tflite_export.passes.rewrite import rewrite

_KEPT_CONVOLUTION_ATTRIBUTES = ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor", "depth_multiplier")


def canonicalise(graph: Graph) -> Graph:
    """The same graph in canonical form."""
    graph = dilate_convolutions(graph)
    graph = rewrite(split_activations(graph), _RULES)
    graph = name_activations(graph)
    return probabilities_last(_fold_padding(graph))


def split_activations(graph: Graph) -> Graph:
    """Every fused activation as an operator of its own.

    Raises:
        ValueError: one that LiteRT's kernels leave out: all but RELU, RELU6 and RELU_N1_TO_1; names the operator.
    """
    return rewrite(graph, dict.fromkeys({op.kind for op in graph.ops}, _split_activation))


def _split_activation(b: Builder, op: Op) -> Tensor | None:
    activation = op.attributes.get("fused_activation_function", "NONE")
    if activation == "NONE":
        return None
    if activation not in ("RELU", "RELU6", "RELU_N1_TO_1"):
        raise ValueError(
            f"{op.origin}: {op.kind} has the fused activation {activation}, which LiteRT's kernels leave out. Make "
            "it an operator of its own"
        )
    attributes = {**op.attributes, "fused_activation_function": "NONE"}
    before = dataclasses.replace(op.outputs[0], name=op.outputs[0].name + "/before_activation")
    b.copy(dataclasses.replace(op, outputs=(before,), attributes=attributes))
    return b.unary(activation, before)


def _convolution(b: Builder, op: Op) -> Tensor:
    x, kernel, bias = (*op.inputs, None)[:3]
    kind = op.kind
    attributes = {name: op.attributes[name] for name in _KEPT_CONVOLUTION_ATTRIBUTES if name in op.attributes}
    if kind == "CONV_2D" and kernel.shape[3] == 1 < x.shape[3]:  # as many groups as channels
        kind, attributes["depth_multiplier"] = "DEPTHWISE_CONV_2D", kernel.shape[0] // x.shape[3]
        kernel = _by_channel(b, kernel)
    attributes["padding"] = explicit_padding(
        op.attributes["padding"],
        x.shape[1:3],
        kernel.shape[1:3],
        (op.attributes["stride_h"], op.attributes["stride_w"]),
        (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"]),
    )
    if not kernel.is_constant and _is_pointwise(op, attributes):
        rows = b.reshape(x, (x.size // x.shape[3], x.shape[3]))
        y = b.matmul(rows, b.reshape(kernel, (kernel.shape[0], kernel.shape[3])), adj_y=True)
        y = b.reshape(y, op.outputs[0].shape)
    else:
        y = b.op(kind, (x, kernel, None), op.outputs[0].shape, fused_activation_function="NONE", **attributes)
    return y if _is_zero(bias) else b.add(y, bias)


def _by_channel(b: Builder, kernel: Tensor) -> Tensor:
    """A depthwise kernel, of a group convolution's with a group for each channel."""
    order = (3, 1, 2, 0)
    if kernel.is_constant:
        return constant(kernel.data.reshape(kernel.shape).transpose(order), name=kernel.name)
    return b.transpose(kernel, order)


def _is_pointwise(op: Op, attributes) -> bool:
    """Whether a convolution is a matrix product of pixels and kernel."""
    x, kernel = op.inputs[:2]
    return (
        op.kind == "CONV_2D"
        and kernel.shape[1:3] == (1, 1)
        and kernel.shape[3] == x.shape[3]
        and (attributes["stride_h"], attributes["stride_w"]) == (1, 1)
        and not np.any(attributes["padding"])
    )


def _fully_connected(b: Builder, op: Op) -> Tensor:
    x, kernel, bias = (*op.inputs, None)[:3]
    y = b.matmul(b.reshape(x, (x.size // kernel.shape[1], kernel.shape[1])), kernel, adj_y=True)
    y = y if _is_zero(bias) else b.add(y, bias)
    return b.reshape(y, op.outputs[0].shape)


def _batch_matmul(b: Builder, op: Op) -> Tensor | None:
    x, y = op.inputs
    adj_x, adj_y = op.attributes.get("adj_x", False), op.attributes.get("adj_y", False)
    if len(y.shape) == 2 and len(x.shape) == 2:
        return b.matmul(x, y, adj_x, adj_y)
    if len(y.shape) == 2 and not adj_x:  # a dense layer along the last axis
        rows = b.reshape(x, (x.size // x.shape[-1], x.shape[-1]))
        return b.reshape(b.matmul(rows, y, False, adj_y), op.outputs[0].shape)
    return None


def _squared_difference(b: Builder, op: Op) -> Tensor:
    """The difference is what a variance's neighbours and its gradient read too."""
    return b.unary("SQUARE", b.sub(*op.inputs))


def _transpose_convolution(b: Builder, op: Op) -> Tensor:
    _, kernel, x, bias = (*op.inputs, None)[:4]
    attributes = {name: op.attributes[name] for name in ("padding", "stride_h", "stride_w")}
    shape = op.outputs[0].shape
    y = b.op("TRANSPOSE_CONV", (integers(shape), kernel, x), shape, fused_activation_function="NONE", **attributes)
    return y if _is_zero(bias) else b.add(y, bias)


def _power(b: Builder, op: Op) -> Tensor | None:
    """A constant exponent that other operators stand for: few runtimes have POW, and there it is slow."""
    x, exponent = op.inputs
    if not exponent.is_constant or exponent.size != 1 or x.is_constant:
        return None
    build = _POWERS.get(float(exponent.data.item()))
    return b.reshape(build(b, x), op.outputs[0].shape) if build else None


_POWERS = {
    -1.0: lambda b, x: b.div(constant(1), x),
    -0.5: lambda b, x: b.unary("RSQRT", x),
    0.5: lambda b, x: b.unary("SQRT", x),
    2.0: lambda b, x: b.unary("SQUARE", x),
    3.0: lambda b, x: b.mul(b.unary("SQUARE", x), x),
}


def _l2_normalization(b: Builder, op: Op) -> Tensor:
    """x / max(||x||, 1e-6) along the last axis, as TFLite's l2normalization.h has it."""
    (x,) = op.inputs
    squares = b.sum(b.unary("SQUARE", x), [len(x.shape) - 1], keep_dims=True)
    return b.mul(x, b.unary("RSQRT", b.maximum(squares, constant(1e-12))))


def _softmax(b: Builder, op: Op) -> Tensor | None:
    """With beta 1 alone: what the loss takes for logits is the softmax's input, and XNNPACK has no other."""
    beta = op.attributes.get("beta", 1.0)
    return None if beta == 1 else b.unary("SOFTMAX", b.scale(op.inputs[0], beta), beta=1.0)


def _add_n(b: Builder, op: Op) -> Tensor:
    return functools.reduce(b.add, op.inputs)


def _select(b: Builder, op: Op) -> Tensor:
    """A condition of rank 1 chooses whole rows."""
    condition, x, y = op.inputs
    if len(condition.shape) == 1 and len(x.shape) > 1:
        condition = b.reshape(condition, (condition.size, *[1] * (len(x.shape) - 1)))
    return b.select(condition, x, y)


def _extremum(b: Builder, op: Op) -> Tensor | None:
    """With the reduced axes kept, which the gradient compares with the input."""
    if op.attributes.get("keep_dims", False):
        return None
    x, axes = op.inputs
    return b.reshape(b.reduce(op.kind, x, axes.data.ravel().tolist(), keep_dims=True), op.outputs[0].shape)


def _is_zero(bias: Tensor | None) -> bool:
    return bias is None or (bias.is_constant and not np.any(bias.data))


_RULES = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _convolution,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "TRANSPOSE_CONV": _transpose_convolution,
    "SQUARED_DIFFERENCE": _squared_difference,
    "L2_NORMALIZATION": _l2_normalization,
    "ADD_N": _add_n,
    "POW": _power,
    "REDUCE_MAX": _extremum,
    "REDUCE_MIN": _extremum,
    "SELECT": _select,
    "SOFTMAX": _softmax,
    **canonical_moves.RULES,
}


def _fold_padding(graph: Graph) -> Graph:
    """Moves zeros that a PAD puts around the image into the convolutions behind it."""
    readers = consumers(graph.ops)
    padded = {}
    for op in graph.ops:
        if op.kind == "PAD" and len(op.inputs[0].shape) == 4:
            amounts = op.inputs[1].data
            only_image = not amounts[0].any() and not amounts[3].any()
            into_convolutions = all(
                reader.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and reader.inputs[0] is op.outputs[0]
                for reader in readers.get(op.outputs[0], ())
            )
            if only_image and into_convolutions and op.outputs[0] not in graph.outputs.values():
                padded[op.outputs[0]] = (op.inputs[0], amounts[1:3])

    def fold(b: Builder, op: Op) -> Tensor | None:
        if op.inputs[0] not in padded:
            return None
        x, amounts = padded[op.inputs[0]]
        (top, bottom), (left, right) = op.attributes["padding"]
        padding = (
            (top + int(amounts[0][0]), bottom + int(amounts[0][1])),
            (left + int(amounts[1][0]), right + int(amounts[1][1])),
        )
        return b.op(op.kind, (x, *op.inputs[1:]), op.outputs[0].shape, **{**op.attributes, "padding": padding})

    folded = rewrite(graph, {"CONV_2D": fold, "DEPTHWISE_CONV_2D": fold})
    return folded.replace(ops=tuple(op for op in folded.ops if not op.outputs or op.outputs[0] not in padded))
