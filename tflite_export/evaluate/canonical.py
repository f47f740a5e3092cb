"""The operators of `graph.CANONICAL`: what automatic differentiation emits and a legalising pass rewrites.

The gradients scatter over the forward operator's window, whose image is the output: ``op.outputs[0].shape``, NHWC.
"""

from __future__ import annotations

import numpy as np

from tflite_export.constants import SELU_ALPHA, SELU_SCALE
from tflite_export.evaluate.convolution import batch_matmul, window
from tflite_export.evaluate.elementwise import KERNELS as ELEMENTWISE
from tflite_export.evaluate.pooling import pool_counts, pool_window
from tflite_export.graph import LARGEST_INPUT

# The open interval of outputs at which the activation has slope one.
_PASSING = {
    "NONE": (-np.inf, np.inf),
    "RELU": (0, np.inf),
    "RELU6": (0, 6),
    "RELU_N1_TO_1": (-1, 1),
    "RELU_0_TO_1": (0, 1),
}


def _activation_mask(op, y):
    activation = op.attributes["activation"]
    if activation not in _PASSING:
        raise ValueError(f"ACTIVATION_MASK expects one of {sorted(_PASSING)}. Received: {activation!r} in {op}")
    low, high = _PASSING[activation]
    return (y > low) & (y < high)


def _conv_2d_input_gradient(op, gradient, kernel):
    n, h, w, c = op.outputs[0].shape
    groups = c // kernel.shape[3]
    win = window(op, (h, w), kernel.shape[1:3])
    padded = np.zeros((n, *win.padded, c), gradient.dtype)
    for row, column, (rows, columns) in win.taps():
        padded[:, rows, columns] += np.concatenate(
            [
                part @ weights[:, row, column]
                for part, weights in zip(np.split(gradient, groups, axis=3), np.split(kernel, groups))
            ],
            axis=3,
        )
    return win.crop(padded)


def _depthwise_conv_2d_input_gradient(op, gradient, kernel):
    n, h, w, c = op.outputs[0].shape
    win = window(op, (h, w), kernel.shape[1:3])
    padded = np.zeros((n, *win.padded, c), gradient.dtype)
    for row, column, (rows, columns) in win.taps():
        products = gradient * kernel[0, row, column]
        padded[:, rows, columns] += products.reshape(*products.shape[:3], c, -1).sum(-1)
    return win.crop(padded)


def _conv_2d_kernel_gradient(op, x, gradient):
    out, h, w, c = op.outputs[0].shape
    groups = x.shape[3] // c
    win = window(op, x.shape[1:3], (h, w))
    padded = win.pad_image(x)
    result = np.zeros((out, h, w, c), gradient.dtype)
    for row, column, (rows, columns) in win.taps():
        pairs = zip(np.split(gradient, groups, axis=3), np.split(padded[:, rows, columns], groups, axis=3))
        result[:, row, column] = np.concatenate([np.tensordot(dy, seen, ([0, 1, 2],) * 2) for dy, seen in pairs])
    return result


def _depthwise_conv_2d_kernel_gradient(op, x, gradient):
    _, h, w, channels = op.outputs[0].shape
    win = window(op, x.shape[1:3], (h, w))
    padded = np.repeat(win.pad_image(x), channels // x.shape[3], axis=3)
    result = np.zeros((1, h, w, channels), gradient.dtype)
    for row, column, (rows, columns) in win.taps():
        result[0, row, column] = (padded[:, rows, columns] * gradient).sum((0, 1, 2))
    return result


def _average_pool_2d_gradient(op, gradient):
    n, h, w, c = op.outputs[0].shape
    win = pool_window(op, (h, w))
    share = gradient / pool_counts(win, c)
    padded = np.zeros((n, *win.padded, c), gradient.dtype)
    for _, _, (rows, columns) in win.taps():
        padded[:, rows, columns] += share
    return win.crop(padded)


def _max_pool_2d_gradient(op, x, y, gradient):
    win = pool_window(op, x.shape[1:3])
    padded = win.pad_image(x, -np.inf)
    result = np.zeros(padded.shape, gradient.dtype)
    open_windows = np.ones(gradient.shape, bool)  # whose maximum has not been met yet
    for _, _, (rows, columns) in win.taps():
        takes = open_windows & (padded[:, rows, columns] == y)
        result[:, rows, columns] += np.where(takes, gradient, 0)
        open_windows &= ~takes
    return win.crop(result)


def _all_finite(arrays):
    return np.all([np.isfinite(array).all() for array in arrays])


KERNELS = {
    "ACTIVATION_MASK": _activation_mask,
    "POSITIVE_MASK": lambda op, x: x > 0,
    "EQUAL_MASK": lambda op, x, y: np.broadcast_to(x == y, op.outputs[0].shape),
    "APPLY_MASK": lambda op, gradient, mask: np.where(mask, gradient, 0),
    "CONV_2D_INPUT_GRADIENT": _conv_2d_input_gradient,
    "DEPTHWISE_CONV_2D_INPUT_GRADIENT": _depthwise_conv_2d_input_gradient,
    "CONV_2D_KERNEL_GRADIENT": _conv_2d_kernel_gradient,
    "DEPTHWISE_CONV_2D_KERNEL_GRADIENT": _depthwise_conv_2d_kernel_gradient,
    "AVERAGE_POOL_2D_GRADIENT": _average_pool_2d_gradient,
    "MAX_POOL_2D_GRADIENT": _max_pool_2d_gradient,
    "SWISH": lambda op, x: x * ELEMENTWISE["LOGISTIC"](op, x),
    "SWISH_ONE_BIT": lambda op, x: x * ELEMENTWISE["LOGISTIC"](op, x),
    "HARD_SWISH_ONE_BIT": lambda op, x: ELEMENTWISE["HARD_SWISH"](op, x),
    "SOFTPLUS": lambda op, x: np.logaddexp(x, 0),
    "SELU": lambda op, x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "BROADCAST": lambda op, x: np.broadcast_to(x, op.outputs[0].shape),
    "CHECKED_INPUT": lambda op, x: np.where(np.all(np.abs(x) < LARGEST_INPUT), 0, np.nan).reshape(1),
    "UPDATE_IF": lambda op, condition, new, old: np.where(condition, new, old),
    "SWAPPED_KERNEL": lambda op, kernel: kernel.transpose(3, 1, 2, 0),
    "MATMUL": batch_matmul,
    "ALL_FINITE": lambda op, *x: _all_finite(x).reshape(1),
    "ONE_IF_FINITE": lambda op, *x: _all_finite(x).reshape(1).astype(float),
    "ZERO_UNLESS_FINITE": lambda op, x, *y: x if _all_finite(y) else np.zeros_like(x),
}
