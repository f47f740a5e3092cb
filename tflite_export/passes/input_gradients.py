"""Input gradients of convolutions and average pooling, as convolutions.

With stride s, ``y[o] = sum_k w[k] x[s o + k - p]``. Position n of x, counted from the padded edge as ``s m + r``,
receives ``dx = sum_a w[r + s a] dy[m - a]``: for each of the s phases r an ordinary correlation of dy with every s-th
tap, flipped. The phases are then interleaved by DEPTH_TO_SPACE. No zero is multiplied, and stride 1 is the case of one
phase: a convolution with the flipped kernel.

The taps of a phase are picked by a product with a constant matrix of zeros and ones, which serves a trainable kernel in
every runtime; of a frozen kernel it is computed at compile time.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Op, Tensor


@dataclasses.dataclass(frozen=True)
class _Axis:
    """How one spatial axis is computed."""

    stride: int
    dilation: int
    taps: int  # of each phase's kernel
    before: int  # padding of the gradient
    after: int
    begin: int  # of x within the interleaved phases
    size: int  # of x

    def picks(self, phase: int, kernel_size: int) -> np.ndarray:
        """[taps, kernel_size] of zeros and ones: which tap of the kernel each tap of the phase's flipped kernel is."""
        wanted = phase + self.stride * np.arange(self.taps)[::-1, None]
        return (wanted == np.arange(kernel_size)).astype(np.float32)


Axes = tuple[_Axis, _Axis]


def convolution(b: Builder, op: Op) -> Tensor:
    """CONV_2D_INPUT_GRADIENT: one convolution that computes all phases as channels."""
    (gradient, kernel), x = op.inputs, op.outputs[0]
    axes = _axes(op, kernel.shape[1:3])
    groups = x.shape[3] // kernel.shape[3]
    swapped = [_taps_first(b, part) for part in _split(b, kernel, groups)]
    kernels = []
    for phase in _phases(axes):
        picked = [_pick(b, part, axes, phase, kernel.shape[1:3]) for part in swapped]
        size = (axes[0].taps, axes[1].taps, kernel.shape[0] // groups, kernel.shape[3])
        flipped = [b.transpose(b.reshape(part, size), (3, 0, 1, 2)) for part in picked]
        kernels.append(_join(b, flipped, 0))  # [in, taps, taps, out / groups]
    if groups == 1:
        kernels = [_join(b, kernels, 0)]
    return _correlate(b, b.conv_2d, gradient, kernels, axes)


def of_trained_kernel(b: Builder, op: Op) -> Tensor | None:
    """CONV_2D_INPUT_GRADIENT of a convolution whose kernel trains, with stride 1, as one of as many groups."""
    (gradient, kernel), x = op.inputs, op.outputs[0]
    out, height, width, inputs = kernel.shape
    groups, axes = x.shape[3] // inputs, _axes(op, kernel.shape[1:3])
    if kernel.is_constant or len(_phases(axes)) > 1:
        return None
    if groups == 1:
        turned = b.transpose(kernel, (3, 1, 2, 0))
    else:
        turned = b.transpose(b.reshape(kernel, (groups, out // groups, height, width, inputs)), (0, 4, 2, 3, 1))
    taps = b.reshape(turned, (x.shape[3], height * width, out // groups))
    flipped = b.gather(taps, range(height * width)[::-1], 1)
    return _correlate(b, b.conv_2d, gradient, [b.reshape(flipped, (x.shape[3], height, width, out // groups))], axes)


def depthwise(b: Builder, op: Op) -> Tensor:
    """DEPTHWISE_CONV_2D_INPUT_GRADIENT: a depthwise convolution per phase."""
    (gradient, kernel), x = op.inputs, op.outputs[0]
    if kernel.shape[3] != x.shape[3]:  # a depth multiplier: as many groups as input channels
        dense = b.transpose(kernel, (3, 1, 2, 0))
        return convolution(b, dataclasses.replace(op, inputs=(gradient, dense)))
    axes, window, channels = _axes(op, kernel.shape[1:3]), kernel.shape[1:3], x.shape[3]
    taps = b.reshape(kernel, (window[0] * window[1], channels))
    size = (1, axes[0].taps, axes[1].taps, channels)
    kernels = [b.reshape(_pick(b, taps, axes, phase, window), size) for phase in _phases(axes)]
    return _correlate(b, b.depthwise_conv_2d, gradient, kernels, axes)


def average_pool(b: Builder, op: Op) -> Tensor:
    """AVERAGE_POOL_2D_GRADIENT: each window divided by its count, then spread by a kernel of ones."""
    (gradient,), x = op.inputs, op.outputs[0]
    window = (op.attributes["filter_height"], op.attributes["filter_width"])
    axes = _axes(op, window)
    counts = _counts(op, window)
    if counts.min() == counts.max():
        gradient = b.scale(gradient, 1 / float(counts.min()))
    else:
        gradient = b.mul(gradient, constant(1 / counts))
    if gradient.shape[1:3] == (1, 1) and counts.min() == x.shape[1] * x.shape[2]:
        return b.broadcast(gradient, x.shape)
    if window == (axes[0].stride, axes[1].stride):  # windows that do not overlap: a copy for every phase
        return _interleave(b, [_pad_or_crop(b, gradient, axes)] * len(_phases(axes)), axes)
    picks = [np.outer(axes[0].picks(r, window[0]).sum(1), axes[1].picks(c, window[1]).sum(1)) for r, c in _phases(axes)]
    kernels = [constant(np.broadcast_to(pick[None, :, :, None], (1, *pick.shape, x.shape[3]))) for pick in picks]
    return _correlate(b, b.depthwise_conv_2d, gradient, kernels, axes)


def average_pool_by_resizing(b: Builder, op: Op) -> Tensor | None:
    """AVERAGE_POOL_2D_GRADIENT of windows that lie side by side and fill the image: one RESIZE_NEAREST_NEIGHBOR."""
    (gradient,), x = op.inputs, op.outputs[0]
    window = (op.attributes["filter_height"], op.attributes["filter_width"])
    stride = (op.attributes["stride_h"], op.attributes["stride_w"])
    filled = tuple(n * size for n, size in zip(gradient.shape[1:3], window))
    if window != stride or filled != x.shape[1:3] or gradient.shape[1:3] == (1, 1):
        return None
    scaled = b.scale(gradient, 1 / (window[0] * window[1]))
    attributes = {"align_corners": False, "half_pixel_centers": False}
    return b.op("RESIZE_NEAREST_NEIGHBOR", (scaled, integers(filled)), x.shape, **attributes)


def _counts(op: Op, window: tuple[int, int]) -> np.ndarray:
    """[1, rows, columns, 1]: how many pixels of the image each window of an average pool covers."""
    gradient, x = op.inputs[0], op.outputs[0]
    stride = (op.attributes["stride_h"], op.attributes["stride_w"])
    padding = explicit_padding(op.attributes["padding"], x.shape[1:3], window, stride)
    covered = []
    for axis in range(2):
        start = np.arange(gradient.shape[1 + axis]) * stride[axis] - padding[axis][0]
        covered.append(np.minimum(start + window[axis], x.shape[1 + axis]) - np.maximum(start, 0))
    return np.outer(*covered).astype(np.float32)[None, :, :, None]


def _axes(op: Op, kernel_size: tuple[int, int]) -> Axes:
    gradient, x = op.inputs[0], op.outputs[0]
    attributes = op.attributes
    stride = (attributes["stride_h"], attributes["stride_w"])
    dilation = (attributes.get("dilation_h_factor", 1), attributes.get("dilation_w_factor", 1))
    padding = explicit_padding(attributes["padding"], x.shape[1:3], kernel_size, stride, dilation)
    sizes, outs = x.shape[1:3], gradient.shape[1:3]
    return tuple(_axis(*axis) for axis in zip(sizes, outs, kernel_size, stride, dilation, padding, strict=True))


def _axis(size: int, out: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int]) -> _Axis:
    taps, skipped = math.ceil(kernel / stride), pad[0] // stride
    phase_length = math.ceil((pad[0] + size) / stride) - skipped
    before = (taps - 1) * dilation - skipped
    after = phase_length + skipped - out
    return _Axis(stride, dilation, taps, before, after, pad[0] - skipped * stride, size)


def _phases(axes: Axes) -> list[tuple[int, int]]:
    return list(itertools.product(range(axes[0].stride), range(axes[1].stride)))


def _split(b: Builder, kernel: Tensor, groups: int) -> list[Tensor]:
    size = (kernel.shape[0] // groups, *kernel.shape[1:])
    return [b.slice(kernel, (group * size[0], 0, 0, 0), size) for group in range(groups)]


def _taps_first(b: Builder, kernel: Tensor) -> Tensor:
    """[out, height, width, in] to [height * width, out * in]."""
    out, height, width, inputs = kernel.shape
    return b.reshape(b.transpose(kernel, (1, 2, 0, 3)), (height * width, out * inputs))


def _pick(b: Builder, taps: Tensor, axes: Axes, phase: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """The rows of `taps` [height * width, …] that act on one phase, flipped, absent ones zero."""
    picks = np.kron(axes[0].picks(phase[0], window[0]), axes[1].picks(phase[1], window[1]))
    return taps if np.array_equal(picks, np.eye(len(picks))) else b.matmul(constant(picks), taps)


def _join(b: Builder, tensors: list[Tensor], axis: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else b.concatenate(tensors, axis)


def _correlate(b: Builder, convolve, gradient: Tensor, kernels: list[Tensor], axes: Axes) -> Tensor:
    dilation = (axes[0].dilation, axes[1].dilation)
    paddings = ((axes[0].before, axes[0].after), (axes[1].before, axes[1].after))
    if len(kernels) == 1 and min(map(min, paddings)) >= 0:
        return _interleave(b, [convolve(gradient, kernels[0], (1, 1), paddings, dilation)], axes)
    padded = _pad_or_crop(b, gradient, axes)
    return _interleave(b, [convolve(padded, kernel, dilation=dilation) for kernel in kernels], axes)


def _pad_or_crop(b: Builder, x: Tensor, axes: Axes) -> Tensor:
    cropped = [(max(0, -axis.before), max(0, -axis.after)) for axis in axes]
    size = [n - sum(c) for n, c in zip(x.shape[1:3], cropped, strict=True)]
    x = b.slice(x, (0, cropped[0][0], cropped[1][0], 0), (x.shape[0], *size, x.shape[3]))
    return b.pad(x, [(0, 0), *((max(0, axis.before), max(0, axis.after)) for axis in axes), (0, 0)])


def _interleave(b: Builder, phases: list[Tensor], axes: Axes) -> Tensor:
    """Phases [n, m, m, c], or one tensor of all phases' channels, to x's shape."""
    x = b.depth_to_space(_join(b, phases, 3), (axes[0].stride, axes[1].stride))
    size = (x.shape[0], axes[0].size, axes[1].size, x.shape[3])
    return b.slice(x, (0, axes[0].begin, axes[1].begin, 0), size)
