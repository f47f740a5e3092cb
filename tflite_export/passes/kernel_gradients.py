"""Gradients of convolution kernels: every tap's slice of the input against the output's gradient."""

from __future__ import annotations

import itertools

from tflite_export.builder import Builder
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Op, Tensor
from tflite_export.passes.taps import Taps

_LARGEST_UNROLLED = 1 << 20  # bytes of all taps side by side; beyond that, one row of the kernel at a time


def convolution(b: Builder, op: Op) -> Tensor:
    """CONV_2D_KERNEL_GRADIENT (x, gradient): one matrix product of the unrolled input and the gradient per group."""
    x, gradient = op.inputs
    out, height, width, inputs = op.outputs[0].shape
    groups = x.shape[3] // inputs
    parts = []
    for group in range(groups):
        part_x = _channels(b, x, group * inputs, inputs)
        part_gradient = _channels(b, gradient, group * (out // groups), out // groups)
        parts.append(_dense(b, op, part_x, part_gradient, (height, width)))
    return parts[0] if groups == 1 else b.concatenate(parts, 0)


def by_convolution(b: Builder, op: Op) -> Tensor:
    """CONV_2D_KERNEL_GRADIENT as a convolution per group: x's channels become the batch, the gradient is the kernel.

    ``dk[co, k, ci] = sum_n,o x[n, d k + s o, ci] dy[n, o, co]`` slides dy over x: the forward dilation d is the stride,
    the forward stride s the dilation.
    """
    x, gradient = op.inputs
    _, height, width, inputs = op.outputs[0].shape
    groups = x.shape[3] // inputs
    stride = tuple(op.attributes[name] for name in ("stride_h", "stride_w"))
    dilation = tuple(op.attributes.get(name, 1) for name in ("dilation_h_factor", "dilation_w_factor"))
    padding = explicit_padding(op.attributes["padding"], x.shape[1:3], (height, width), stride, dilation)
    reach = [
        (window - 1) * dilation[i] + (gradient.shape[1 + i] - 1) * stride[i] + 1
        for i, window in enumerate((height, width))
    ]
    behind = [reach[i] - padding[i][0] - x.shape[1 + i] for i in range(2)]
    x = b.slice(x, (0, 0, 0, 0), (x.shape[0], *(x.shape[1 + i] + min(0, behind[i]) for i in range(2)), x.shape[3]))
    x = b.pad(x, [(0, 0), *((padding[i][0], max(0, behind[i])) for i in range(2)), (0, 0)])
    images, kernels = (b.split_evenly(b.transpose(t, (3, 1, 2, 0)), groups, 0) for t in (x, gradient))
    parts = [b.conv_2d(*pair, stride=dilation, dilation=stride) for pair in zip(images, kernels, strict=True)]
    return b.transpose(parts[0] if groups == 1 else b.concatenate(parts, 3), (3, 1, 2, 0))


def _dense(b: Builder, op: Op, x: Tensor, gradient: Tensor, window: tuple[int, int]) -> Tensor:
    out, inputs = gradient.shape[3], x.shape[3]
    pixels = gradient.size // out
    rows = b.reshape(gradient, (pixels, out))
    taps = Taps(b, op, x, window, gradient.shape[1:3])

    def product(positions) -> Tensor:
        positions = list(positions)
        unrolled = [taps.tap(row, column) for row, column in positions]
        unrolled = unrolled[0] if len(unrolled) == 1 else b.concatenate(unrolled, 3)
        width = len(positions) * inputs
        return b.matmul(rows, b.reshape(unrolled, (pixels, width)), adj_x=True)

    positions = itertools.product(*map(range, window))
    if 4 * window[0] * window[1] * x.shape[3] * pixels <= _LARGEST_UNROLLED:
        kernel = product(positions)
    else:
        kernel = [product((row, column) for column in range(window[1])) for row in range(window[0])]
        kernel = kernel[0] if len(kernel) == 1 else b.concatenate(kernel, 1)
    return b.reshape(kernel, (out, *window, inputs))


def depthwise(b: Builder, op: Op) -> Tensor:
    """DEPTHWISE_CONV_2D_KERNEL_GRADIENT (x, gradient)."""
    x, gradient = op.inputs
    _, height, width, _ = op.outputs[0].shape
    taps = Taps(b, op, x, (height, width), gradient.shape[1:3])
    sums = [_correlated(b, taps.tap(*tap), gradient) for tap in itertools.product(range(height), range(width))]
    kernel = sums[0] if len(sums) == 1 else b.concatenate(sums, 0)
    return b.reshape(kernel, op.outputs[0].shape)


def _correlated(b: Builder, seen: Tensor, gradient: Tensor) -> Tensor:
    """[channels of the gradient]: its sums with what a tap sees, each channel of which makes several of its own."""
    channels, multiplier = seen.shape[3], gradient.shape[3] // seen.shape[3]
    if multiplier == 1:
        return b.sum(b.mul(seen, gradient), (0, 1, 2))
    pixels = seen.size // channels
    product = b.mul(b.reshape(seen, (pixels, channels, 1)), b.reshape(gradient, (pixels, channels, multiplier)))
    return b.reshape(b.sum(product, (0,)), (channels * multiplier,))


def _channels(b: Builder, x: Tensor, begin: int, count: int) -> Tensor:
    return b.slice(x, (0, 0, 0, begin), (*x.shape[:3], count))
