"""Canonical forward graphs in TensorFlow: values by tf.nn, gradients by GradientTape. Shares no code with ours."""

from __future__ import annotations

import tensorflow as tf


def value_and_gradients(graph, inputs, cotangent):
    """The output named ``y``, and the gradient of ``sum(y * cotangent)`` by every float input."""
    tensors = {name: tf.constant(value, tf.float64) for name, value in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        table = {graph.inputs[name]: value for name, value in tensors.items()}
        for op in graph.ops:
            operands = [None if t is None else _operand(t, table) for t in op.inputs]
            results = _OPS[op.kind](op, *operands)
            table.update(zip(op.outputs, results if isinstance(results, list) else [results], strict=True))
        y = table[graph.outputs["y"]]
        objective = tf.reduce_sum(y * cotangent)
    gradients = tape.gradient(objective, tensors)
    return y.numpy(), {name: value.numpy() for name, value in gradients.items()}


def _operand(tensor, table):
    if tensor not in table:
        dtype = tf.float64 if tensor.dtype == "float32" else tensor.dtype
        table[tensor] = tf.constant(tensor.data, dtype)
    return table[tensor]


def _image_padding(op):
    padding = op.attributes["padding"]
    return [[0, 0], *map(list, ((0, 0), (0, 0)) if padding == "VALID" else padding), [0, 0]]


def _conv(op, x, kernel, _):
    """Group by group and with zeros between the taps: on the CPU TensorFlow has neither gradient otherwise."""
    a = op.attributes
    groups = x.shape[3] // kernel.shape[3]
    outputs = [
        tf.nn.conv2d(
            part,
            tf.transpose(_dilated(part_kernel, op), (1, 2, 3, 0)),
            [a["stride_h"], a["stride_w"]],
            _image_padding(op),
        )
        for part, part_kernel in zip(tf.split(x, groups, 3), tf.split(kernel, groups, 0), strict=True)
    ]  # fmt: skip
    return tf.concat(outputs, 3)


def _dilated(kernel, op):
    def spread(taps, dilation):
        return tf.eye((taps - 1) * dilation + 1, dtype=tf.float64)[:, ::dilation]

    rows = spread(kernel.shape[1], op.attributes["dilation_h_factor"])
    columns = spread(kernel.shape[2], op.attributes["dilation_w_factor"])
    return tf.einsum("ohwi,Hh,Ww->oHWi", kernel, rows, columns)


def _depthwise(op, x, kernel, _):
    """At every position, then every stride-th: on the CPU TensorFlow has equal strides alone."""
    a, channels = op.attributes, kernel.shape[3]
    kernel = _dilated(kernel, op)
    kernel = tf.reshape(kernel, (*kernel.shape[1:3], x.shape[3], channels // x.shape[3]))
    padded = tf.pad(x, _image_padding(op))
    return tf.nn.depthwise_conv2d(padded, kernel, [1] * 4, "VALID")[:, :: a["stride_h"], :: a["stride_w"]]


def _pool(function):
    def pool(op, x):
        a = op.attributes
        window, stride = [a["filter_height"], a["filter_width"]], [a["stride_h"], a["stride_w"]]
        return function(x, window, stride, a["padding"])

    return pool


def _resize_bilinear(op, x, size):
    a = op.attributes
    if not a["half_pixel_centers"]:
        resized = tf.compat.v1.image.resize_bilinear(tf.cast(x, tf.float32), size, a["align_corners"])
        return tf.cast(resized, tf.float64)
    return tf.cast(tf.image.resize(tf.cast(x, tf.float32), size, "bilinear"), tf.float64)


def _resize_nearest_neighbor(op, x, size):
    a = op.attributes
    return tf.raw_ops.ResizeNearestNeighbor(
        images=x, size=size, align_corners=a.get("align_corners", False),
        half_pixel_centers=a.get("half_pixel_centers", False),
    )  # fmt: skip


def _transpose_conv(op, shape, kernel, x, bias=None):
    """TensorFlow's kernel is [height, width, out, in]."""
    a = op.attributes
    kernel = tf.transpose(kernel, (1, 2, 0, 3))
    y = tf.nn.conv2d_transpose(x, kernel, shape, [a["stride_h"], a["stride_w"]], a["padding"])
    return y if bias is None else y + bias


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _strided_slice(op, x, *bounds):
    return tf.strided_slice(x, *bounds, **{mask: op.attributes.get(mask, 0) for mask in _MASKS})


def _one_bit(function, x):
    """`function`, with the gradient of relu."""

    @tf.custom_gradient
    def approximated(x):
        return function(x), lambda gradient: tf.where(x > 0, gradient, 0)

    return approximated(x)


_OPS = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "AVERAGE_POOL_2D": _pool(tf.nn.avg_pool2d),
    "MAX_POOL_2D": _pool(tf.nn.max_pool2d),
    "MATMUL": lambda op, a, b: tf.matmul(a, b, op.attributes["adj_x"], op.attributes["adj_y"]),
    "ADD": lambda op, a, b: a + b,
    "SUB": lambda op, a, b: a - b,
    "MUL": lambda op, a, b: a * b,
    "DIV": lambda op, a, b: a / b,
    "RELU": lambda op, x: tf.nn.relu(x),
    "RELU6": lambda op, x: tf.nn.relu6(x),
    "LOGISTIC": lambda op, x: tf.sigmoid(x),
    "TANH": lambda op, x: tf.tanh(x),
    "SOFTMAX": lambda op, x: tf.nn.softmax(x * op.attributes["beta"]),
    "RELU_N1_TO_1": lambda op, x: tf.clip_by_value(x, -1, 1),
    "RELU_0_TO_1": lambda op, x: tf.clip_by_value(x, 0, 1),
    "LEAKY_RELU": lambda op, x: tf.nn.leaky_relu(x, op.attributes["alpha"]),
    "PRELU": lambda op, x, alpha: tf.nn.relu(x) - alpha * tf.nn.relu(-x),  # as keras.layers.PReLU.call has it
    "ELU": lambda op, x: tf.nn.elu(x),
    "SELU": lambda op, x: tf.nn.selu(x),
    "SOFTPLUS": lambda op, x: tf.nn.softplus(x),
    "SWISH": lambda op, x: tf.nn.silu(x),
    "HARD_SWISH": lambda op, x: x * tf.nn.relu6(x + 3) / 6,
    "SWISH_ONE_BIT": lambda op, x: _one_bit(tf.nn.silu, x),
    "HARD_SWISH_ONE_BIT": lambda op, x: _one_bit(lambda x: x * tf.nn.relu6(x + 3) / 6, x),
    "GELU": lambda op, x: tf.nn.gelu(x, approximate=op.attributes["approximate"]),
    "LOG_SOFTMAX": lambda op, x: tf.nn.log_softmax(x),
    "ABS": lambda op, x: tf.abs(x),
    "SIN": lambda op, x: tf.sin(x),
    "COS": lambda op, x: tf.cos(x),
    "POW": lambda op, x, y: x**y,
    "MINIMUM": lambda op, a, b: tf.minimum(a, b),
    "MAXIMUM": lambda op, a, b: tf.maximum(a, b),
    "GREATER": lambda op, a, b: a > b,
    "SELECT_V2": lambda op, condition, a, b: tf.where(condition, a, b),
    "CAST": lambda op, x: tf.cast(x, {"float32": "float64"}.get(op.outputs[0].dtype, op.outputs[0].dtype)),
    "REDUCE_MAX": lambda op, x, axes: tf.reduce_max(x, axes, keepdims=op.attributes["keep_dims"]),
    "REDUCE_MIN": lambda op, x, axes: tf.reduce_min(x, axes, keepdims=op.attributes["keep_dims"]),
    "BATCH_MATMUL": lambda op, a, b: tf.matmul(a, b, op.attributes["adj_x"], op.attributes["adj_y"]),
    "SQUARED_DIFFERENCE": lambda op, a, b: tf.math.squared_difference(a, b),
    "SQUARE": lambda op, x: tf.square(x),
    "SQRT": lambda op, x: tf.sqrt(x),
    "RSQRT": lambda op, x: tf.math.rsqrt(x),
    "EXP": lambda op, x: tf.exp(x),
    "LOG": lambda op, x: tf.math.log(x),
    "NEG": lambda op, x: -x,
    "RESIZE_BILINEAR": _resize_bilinear,
    "SUM": lambda op, x, axes: tf.reduce_sum(x, axes, keepdims=op.attributes["keep_dims"]),
    "MEAN": lambda op, x, axes: tf.reduce_mean(x, axes, keepdims=op.attributes["keep_dims"]),
    "RESHAPE": lambda op, x, shape: tf.reshape(x, shape),
    "TRANSPOSE": lambda op, x, permutation: tf.transpose(x, permutation),
    "PAD": lambda op, x, paddings: tf.pad(x, paddings),
    "SLICE": lambda op, x, begin, size: tf.slice(x, begin, size),
    "TRANSPOSE_CONV": _transpose_conv,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": lambda op, x, indices: tf.gather(x, indices, axis=op.attributes["axis"]),
    "REVERSE_V2": lambda op, x, axes: tf.reverse(x, axes),
    "MIRROR_PAD": lambda op, x, paddings: tf.pad(x, paddings, op.attributes["mode"]),
    "PADV2": lambda op, x, paddings, value: tf.pad(x, paddings, constant_values=value[0]),
    "TILE": lambda op, x, multiples: tf.tile(x, multiples),
    "BROADCAST_TO": lambda op, x, shape: tf.broadcast_to(x, shape),
    "PACK": lambda op, *x: tf.stack(x, op.attributes["axis"]),
    "UNPACK": lambda op, x: tf.unstack(x, axis=op.attributes["axis"]),
    "SPLIT": lambda op, axis, x: tf.split(x, len(op.outputs), axis[0]),
    "SPLIT_V": lambda op, x, sizes, axis: tf.split(x, sizes, axis[0]),
    "DEPTH_TO_SPACE": lambda op, x: tf.nn.depth_to_space(x, op.attributes["block_size"]),
    "SPACE_TO_DEPTH": lambda op, x: tf.nn.space_to_depth(x, op.attributes["block_size"]),
    "SPACE_TO_BATCH_ND": lambda op, x, block, paddings: tf.space_to_batch(x, block, paddings),
    "BATCH_TO_SPACE_ND": lambda op, x, block, crops: tf.batch_to_space(x, block, crops),
    "CONCATENATION": lambda op, *x: tf.concat(x, op.attributes["axis"]),
    "BROADCAST": lambda op, x: tf.broadcast_to(x, op.outputs[0].shape),
}
KINDS = frozenset(_OPS)
