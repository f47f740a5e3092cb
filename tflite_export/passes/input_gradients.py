"""Input gradients of convolutions and average pooling, as convolutions.

With stride s, ``y[o] = sum_k w[k] x[s o + k - p]``. Position n of x, counted from the padded edge as ``s m + r``,
receives ``dx = sum_a w[r + s a] dy[m - a]``: for each of the s phases r an ordinary correlation of dy with every s-th
tap, flipped. The phases are then interleaved by DEPTH_TO_SPACE. No zero is multiplied, and stride 1 is the case of one
phase: a convolution with the flipped kernel.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from tflite_export.autodiff import NotDifferentiable
from tflite_export.builder import Builder, constant
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

    def phase_taps(self, phase: int, kernel_size: int) -> list[int | None]:
        """For each tap of the phase's flipped kernel, the tap of the forward kernel; None multiplies nothing."""
        taps = [phase + self.stride * a for a in reversed(range(self.taps))]
        return [tap if tap < kernel_size else None for tap in taps]


def _axis(size: int, out: int, kernel: int, stride: int, dilation: int, pad: tuple[int, int]) -> _Axis:
    taps, skipped = math.ceil(kernel / stride), pad[0] // stride
    phase_length = math.ceil((pad[0] + size) / stride) - skipped
    before = (taps - 1) * dilation - skipped
    after = phase_length + skipped - out
    return _Axis(stride, dilation, taps, before, after, pad[0] - skipped * stride, size)


def _axes(op: Op, kernel_size: tuple[int, int]) -> tuple[_Axis, _Axis]:
    gradient, x = op.inputs[0], op.outputs[0]
    attributes = op.attributes
    stride = (attributes["stride_h"], attributes["stride_w"])
    dilation = (attributes.get("dilation_h_factor", 1), attributes.get("dilation_w_factor", 1))
    if stride[0] != stride[1]:
        raise NotDifferentiable(
            f"layer {op.origin!r}: strides {stride} differ between height and width; only equal strides are supported"
        )
    padding = explicit_padding(attributes["padding"], x.shape[1:3], kernel_size, stride, dilation)
    sizes, outs = x.shape[1:3], gradient.shape[1:3]
    return tuple(_axis(*axis) for axis in zip(sizes, outs, kernel_size, stride, dilation, padding, strict=True))


def _phase_kernel(kernel: np.ndarray, axes: tuple[_Axis, _Axis], phase: tuple[int, int]) -> np.ndarray:
    """The taps of `kernel` [out, height, width, in] that act on one phase, flipped, absent ones zero."""
    rows = axes[0].phase_taps(phase[0], kernel.shape[1])
    columns = axes[1].phase_taps(phase[1], kernel.shape[2])
    result = np.zeros((kernel.shape[0], len(rows), len(columns), kernel.shape[3]), kernel.dtype)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        if row is not None and column is not None:
            result[:, i, j] = kernel[:, row, column]
    return result


def _pad_or_crop(b: Builder, x: Tensor, axes: tuple[_Axis, _Axis]) -> Tensor:
    cropped = [(max(0, -axis.before), max(0, -axis.after)) for axis in axes]
    size = [n - sum(c) for n, c in zip(x.shape[1:3], cropped, strict=True)]
    x = b.slice(x, (0, cropped[0][0], cropped[1][0], 0), (x.shape[0], *size, x.shape[3]))
    return b.pad(x, [(0, 0), *((max(0, axis.before), max(0, axis.after)) for axis in axes), (0, 0)])


def _interleave(b: Builder, phases: list[Tensor], axes: tuple[_Axis, _Axis]) -> Tensor:
    """Phases [n, m, m, c], or one tensor of all phases' channels, to x's shape."""
    x = phases[0] if len(phases) == 1 else b.concatenate(phases, 3)
    if axes[0].stride > 1:
        x = b.depth_to_space(x, axes[0].stride)
    return b.slice(
        x, (0, axes[0].begin, axes[1].begin, 0), (x.shape[0], axes[0].size, axes[1].size, x.shape[3])
    )  # fmt: skip


def _phases(axes: tuple[_Axis, _Axis]):
    return list(itertools.product(range(axes[0].stride), range(axes[1].stride)))


def _constant_kernel(op: Op) -> np.ndarray:
    kernel = op.inputs[1]
    if not kernel.is_constant:
        raise NotDifferentiable(f"layer {op.origin!r}: a trainable {op.kind} kernel is not supported yet; freeze it")
    return kernel.data


def convolution(b: Builder, op: Op) -> Tensor:
    """CONV_2D_INPUT_GRADIENT: one convolution that computes all phases as channels."""
    gradient, x = op.inputs[0], op.outputs[0]
    kernel = _constant_kernel(op)
    axes = _axes(op, kernel.shape[1:3])
    groups = x.shape[3] // kernel.shape[3]
    # [out, kh, kw, in / groups] -> [in, kh, kw, out / groups]
    swapped = kernel.reshape(groups, -1, *kernel.shape[1:]).transpose(0, 4, 2, 3, 1)
    swapped = swapped.reshape(x.shape[3], *kernel.shape[1:3], -1)
    kernels = [_phase_kernel(swapped, axes, phase) for phase in _phases(axes)]
    if groups == 1:
        kernels = [np.concatenate(kernels)]
    return _correlate(b, b.conv_2d, gradient, kernels, axes)


def depthwise(b: Builder, op: Op) -> Tensor:
    """DEPTHWISE_CONV_2D_INPUT_GRADIENT: a depthwise convolution per phase."""
    gradient, x = op.inputs[0], op.outputs[0]
    kernel = _constant_kernel(op)
    if kernel.shape[3] != x.shape[3]:  # a depth multiplier: as many groups as input channels
        dense = constant(kernel.transpose(3, 1, 2, 0))
        return convolution(b, dataclasses.replace(op, inputs=(gradient, dense)))
    return _depthwise(b, gradient, kernel, _axes(op, kernel.shape[1:3]))


def average_pool(b: Builder, op: Op) -> Tensor:
    """AVERAGE_POOL_2D_GRADIENT: a depthwise input gradient with a kernel of ones, each window divided by its count."""
    (gradient,), x = op.inputs, op.outputs[0]
    window = (op.attributes["filter_height"], op.attributes["filter_width"])
    axes = _axes(op, window)
    counts = np.ones((1, 1, 1, 1), np.float32)
    for i in range(2):
        starts = np.arange(gradient.shape[1 + i]) * axes[i].stride - _pad_before(op, i)
        inside = np.minimum(starts + window[i], x.shape[1 + i]) - np.maximum(starts, 0)
        counts = counts * inside.reshape([-1 if n == 1 + i else 1 for n in range(4)]).astype(np.float32)
    uniform = counts.flat[0] if np.all(counts == counts.flat[0]) else None
    gradient = b.scale(gradient, 1 / float(uniform)) if uniform else b.mul(gradient, constant(1 / counts))
    if gradient.shape[1:3] == (1, 1) and counts.flat[0] == np.prod(x.shape[1:3]):
        return b.broadcast(gradient, x.shape)
    return _depthwise(b, gradient, np.ones((1, *window, x.shape[3]), np.float32), axes)


def _pad_before(op: Op, axis: int) -> int:
    stride = (op.attributes["stride_h"], op.attributes["stride_w"])
    window = (op.attributes["filter_height"], op.attributes["filter_width"])
    return explicit_padding(op.attributes["padding"], op.outputs[0].shape[1:3], window, stride)[axis][0]


def _depthwise(b, gradient, kernel, axes):
    kernels = [_phase_kernel(kernel, axes, phase) for phase in _phases(axes)]
    return _correlate(b, b.depthwise_conv_2d, gradient, kernels, axes)


def _correlate(b, convolve, gradient, kernels, axes):
    dilation = (axes[0].dilation, axes[1].dilation)
    paddings = ((axes[0].before, axes[0].after), (axes[1].before, axes[1].after))
    if len(kernels) == 1 and min(map(min, paddings)) >= 0:
        return _interleave(b, [convolve(gradient, constant(kernels[0]), (1, 1), paddings, dilation)], axes)
    padded = _pad_or_crop(b, gradient, axes)
    phases = [
        padded if kernel.shape[1:3] == (1, 1) and kernel.shape[0] == 1 and np.all(kernel == 1)
        else convolve(padded, constant(kernel), dilation=dilation)
        for kernel in kernels
    ]  # fmt: skip
    return _interleave(b, phases, axes)
