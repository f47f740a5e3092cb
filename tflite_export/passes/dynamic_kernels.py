"""Convolutions with a kernel that is not constant, in forms that runtimes have fast kernels for."""

from __future__ import annotations

import itertools

from tflite_export.builder import Builder
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Op, Tensor
from tflite_export.passes.taps import Taps


def by_group(b: Builder, op: Op) -> Tensor | None:
    """CONV_2D: one per group. LiteRT has only a reference kernel for several groups."""
    x, kernel, bias = op.inputs
    out, _, _, inputs = kernel.shape
    groups = x.shape[3] // inputs
    if kernel.is_constant or bias is not None or groups == 1:
        return None
    shape = (*op.outputs[0].shape[:3], out // groups)
    images, kernels = b.split_evenly(x, groups, 3), b.split_evenly(kernel, groups, 0)
    parts = [b.op("CONV_2D", (*pair, None), shape, **op.attributes) for pair in zip(images, kernels, strict=True)]
    return b.concatenate(parts, 3)


def by_matrices(b: Builder, op: Op) -> Tensor | None:
    """CONV_2D without a bias: one matrix product per group.

    XNNPACK packs a convolution's kernel once, when it prepares, so it takes constant ones only; the operands of its
    products may be anything. One has in its rows what the window sees at every output, the other is the kernel.
    """
    x, kernel, bias = op.inputs
    if kernel.is_constant or bias is not None:
        return None
    out, height, width, inputs = kernel.shape
    groups = x.shape[3] // inputs
    n, rows, columns, _ = op.outputs[0].shape
    taps = [(row, column) for row, column in itertools.product(range(height), range(width))]
    matrix = b.reshape(kernel, (out, height * width * inputs))
    parts = []
    for group in range(groups):
        part = b.slice(x, (0, 0, 0, group * inputs), (*x.shape[:3], inputs))
        window = Taps(b, op, part, (height, width), (rows, columns))
        seen = b.concatenate([window.tap(*tap) for tap in taps], 3) if len(taps) > 1 else window.tap(0, 0)
        patches = b.reshape(seen, (n * rows * columns, height * width * inputs))
        weights = b.slice(matrix, (group * (out // groups), 0), (out // groups, matrix.shape[1]))
        parts.append(b.matmul(patches, weights, adj_y=True))
    y = parts[0] if groups == 1 else b.concatenate(parts, 1)
    return b.reshape(y, op.outputs[0].shape)


def by_phases(b: Builder, op: Op) -> Tensor | None:
    """TRANSPOSE_CONV: the gradient of the convolution that goes the other way, of which each phase is a convolution."""
    _, kernel, x = op.inputs
    if kernel.is_constant:
        return None
    stride, shape = (op.attributes["stride_h"], op.attributes["stride_w"]), op.outputs[0].shape
    padding = explicit_padding(op.attributes["padding"], shape[1:3], kernel.shape[1:3], stride)
    attributes = {"stride_h": stride[0], "stride_w": stride[1], "padding": padding}
    return b.op("CONV_2D_INPUT_GRADIENT", (x, b.transpose(kernel, (3, 1, 2, 0))), shape, **attributes)
