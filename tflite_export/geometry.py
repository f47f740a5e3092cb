"""Sizes and padding of windowed operators, in one place.

Source of the formulas: TFLite's kernels/padding.h (ComputePaddingHeightWidth, ComputeOutSize).
"""

from __future__ import annotations

Padding = tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))


def effective_size(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """What "SAME" pads before and after an axis of `size`; the odd one goes behind."""
    out = -(-size // stride)
    total = max(0, (out - 1) * stride + effective_size(kernel, dilation) - size)
    return total // 2, total - total // 2


def explicit_padding(padding, size, kernel, stride, dilation=(1, 1)) -> Padding:
    """`padding` ("SAME", "VALID" or already explicit) as ((top, bottom), (left, right)).

    All other arguments are pairs (height, width).
    """
    if padding == "VALID":
        return (0, 0), (0, 0)
    if padding == "SAME":
        return tuple(same_padding(*axis) for axis in zip(size, kernel, stride, dilation))
    return tuple(tuple(pair) for pair in padding)


def output_size(size: int, pad: tuple[int, int], kernel: int, stride: int, dilation: int = 1) -> int:
    return (size + sum(pad) - effective_size(kernel, dilation)) // stride + 1
