"""Convolutions and matrix products: each a direct sum over the kernel's window.

Layouts: x [N, H, W, C], CONV_2D and TRANSPOSE_CONV kernels [O, kh, kw, C / groups], DEPTHWISE_CONV_2D kernels
[1, kh, kw, C * depth_multiplier]. `window` and its kin are shared with the canonical gradients, which scatter where
the forward operators gather.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from tflite_export.geometry import Padding, explicit_padding, output_size


@dataclasses.dataclass(frozen=True)
class Window:
    """A sliding window over an image of `size` (height, width); every pair is (height, width)."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: Padding

    @property
    def padded(self) -> tuple[int, int]:
        return tuple(size + sum(pad) for size, pad in zip(self.size, self.pad))

    @property
    def out(self) -> tuple[int, int]:
        return tuple(map(output_size, self.size, self.pad, self.kernel, self.stride, self.dilation))

    def taps(self) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
        """(row, column, where the tap lies in the padded image for every output position), row by row."""
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                starts = (row * self.dilation[0], column * self.dilation[1])
                yield (
                    row,
                    column,
                    tuple(
                        slice(start, start + (out - 1) * stride + 1, stride)
                        for start, out, stride in zip(starts, self.out, self.stride)
                    ),
                )

    def crop(self, padded: np.ndarray) -> np.ndarray:
        (top, _), (left, _) = self.pad
        return padded[:, top : top + self.size[0], left : left + self.size[1]]

    def pad_image(self, x: np.ndarray, value=0) -> np.ndarray:
        return np.pad(x, ((0, 0), *self.pad, (0, 0)), constant_values=value)


def window(op, size, kernel) -> Window:
    """The window of a convolution or pool with `op`'s attributes."""
    get = op.attributes.get
    stride = get("stride_h", 1), get("stride_w", 1)
    dilation = get("dilation_h_factor", 1), get("dilation_w_factor", 1)
    pad = explicit_padding(get("padding", "VALID"), size, kernel, stride, dilation)
    return Window(tuple(size), tuple(kernel), stride, dilation, pad)


def _conv_2d(op, x, kernel, bias=None):
    groups = x.shape[3] // kernel.shape[3]
    win = window(op, x.shape[1:3], kernel.shape[1:3])
    padded = win.pad_image(x)
    # [groups, N, out h, out w, out / groups]
    total = 0
    weights = kernel.reshape(groups, -1, *kernel.shape[1:])
    for row, column, (rows, columns) in win.taps():
        taken = padded[:, rows, columns]
        taken = np.moveaxis(taken.reshape(*taken.shape[:3], groups, -1), 3, 0)
        shape = taken.shape
        products = taken.reshape(groups, -1, shape[-1]) @ weights[:, :, row, column].transpose(0, 2, 1)
        total = total + products.reshape(*shape[:-1], -1)
    total = np.moveaxis(total, 0, 3).reshape(x.shape[0], *win.out, kernel.shape[0])
    return total if bias is None else total + bias


def _depthwise_conv_2d(op, x, kernel, bias=None):
    multiplier = kernel.shape[3] // x.shape[3]
    win = window(op, x.shape[1:3], kernel.shape[1:3])
    padded = np.repeat(win.pad_image(x), multiplier, axis=3)
    total = sum(padded[:, rows, columns] * kernel[0, row, column] for row, column, (rows, columns) in win.taps())
    return total if bias is None else total + bias


def _transpose_conv(op, output_shape, kernel, x, bias=None):
    """Scatters each input pixel over its window of the output, whose size is an operand."""
    size = tuple(int(i) for i in output_shape[1:3])
    win = window(op, size, kernel.shape[1:3])
    reach = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], win.stride, win.kernel)]
    extent = [max(r, p) for r, p in zip(reach, win.padded)]
    scattered = np.zeros((x.shape[0], *extent, kernel.shape[0]), x.dtype)
    for row in range(win.kernel[0]):
        for column in range(win.kernel[1]):
            scattered[
                :,
                row : row + (x.shape[1] - 1) * win.stride[0] + 1 : win.stride[0],
                column : column + (x.shape[2] - 1) * win.stride[1] + 1 : win.stride[1],
            ] += x @ kernel[:, row, column].T
    total = win.crop(scattered)
    return total if bias is None else total + bias


def _fully_connected(op, x, kernel, bias=None):
    """Kernel [out, in]; the operand is seen as rows of `in`."""
    rows = x.reshape(-1, kernel.shape[1]) @ kernel.T
    rows = rows if bias is None else rows + bias
    return rows.reshape(*x.shape[:-1], kernel.shape[0]) if op.attributes.get("keep_num_dims", False) else rows


def batch_matmul(op, x, y):
    x = np.swapaxes(x, -1, -2) if op.attributes.get("adj_x", False) else x
    y = np.swapaxes(y, -1, -2) if op.attributes.get("adj_y", False) else y
    return x @ y


KERNELS = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": batch_matmul,
}
