"""Awkward shapes of sliding windows, and TensorFlow's float64 answer for them, built on stride-1 VALID ops only."""

from __future__ import annotations

import dataclasses
import struct

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Window:
    """Shapes of a convolution or pool; ``pads`` None is TensorFlow's SAME, else (top, left, output height, width)."""

    input: tuple[int, int, int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] | None = None

    def axis(self, i: int) -> tuple[int, int]:
        """(padding before, output size)."""
        if self.pads:
            return self.pads[i], self.pads[2 + i]
        size, window, stride = self.input[1 + i], self.kernel[i], self.strides[i]
        output = -(-size // stride)
        return max(0, (output - 1) * stride + window - size) // 2, output

    def output(self, channels: int) -> tuple[int, int, int, int]:
        return self.input[0], self.axis(0)[1], self.axis(1)[1], channels

    def struct(self, channels: int) -> bytes:
        """input, output and window, as the first fields of every params struct."""
        (top, _), (left, _) = self.axis(0), self.axis(1)
        return struct.pack("<14i", *self.input, *self.output(channels), *self.kernel, *self.strides, top, left)

    def padded(self, x, value=0.0):
        """x with every output's window inside."""
        pads = [[0, 0]]
        for i in range(2):
            before, output = self.axis(i)
            after = (output - 1) * self.strides[i] + self.kernel[i] - before - self.input[1 + i]
            pads.append([before, max(0, after)])
        return tf.pad(x, [*pads, [0, 0]], constant_values=value)

    def thinned(self, y):
        """The outputs at the strides, of a stride-1 result."""
        rows, columns = self.axis(0)[1], self.axis(1)[1]
        return y[:, :: self.strides[0], :: self.strides[1]][:, :rows, :columns]


AWKWARD = (
    Window((1, 5, 7, 3), (3, 3)),
    Window((2, 7, 5, 4), (3, 3), (2, 2)),
    Window((1, 6, 6, 5), (3, 3), (2, 2)),
    Window((1, 9, 10, 8), (5, 5), (2, 1), (2, 2, 5, 10)),
    Window((1, 1, 1, 6), (3, 3)),
    Window((3, 2, 2, 10), (5, 5), (1, 1), (2, 2, 2, 2)),
    Window((1, 11, 4, 16), (7, 3), (3, 2), (0, 1, 2, 3)),
    Window((1, 8, 13, 12), (1, 1), (2, 3)),
    Window((1, 4, 9, 9), (2, 4), (1, 2), (1, 3, 4, 5)),
    Window((2, 6, 8, 17), (3, 3), (4, 4), (1, 1, 2, 2)),
    Window((1, 10, 10, 24), (5, 5), (2, 2), (2, 2, 5, 5)),
)


def convolve(window: Window, x, kernel, groups: int):
    """kernel OHWI float64."""
    parts = []
    for part, weights in zip(tf.split(window.padded(x), groups, -1), tf.split(kernel, groups, 0)):
        parts.append(tf.nn.conv2d(part, tf.transpose(weights, [1, 2, 3, 0]), 1, "VALID"))
    return window.thinned(tf.concat(parts, -1))


def convolve_depthwise(window: Window, x, kernel):
    """kernel [height, width, channels] float64."""
    return window.thinned(tf.nn.depthwise_conv2d(window.padded(x), kernel[..., None], [1, 1, 1, 1], "VALID"))


def activate(y, activation: int):
    return (tf.identity, tf.nn.relu, tf.nn.relu6)[activation](y)


def packed_mask(derivative: np.ndarray) -> np.ndarray:
    """One bit an element, a row of bytes per pixel, lowest bit first."""
    rows = np.asarray(derivative != 0).reshape(-1, derivative.shape[-1])
    return np.packbits(rows, axis=1, bitorder="little")


def random_mask(generator: np.random.Generator, shape) -> tuple[np.ndarray, np.ndarray]:
    """A mask as float64 of that shape, and packed."""
    mask = (generator.random(shape) < 0.6).astype(np.float64)
    return mask, packed_mask(mask)


def is_clear(y: np.ndarray) -> bool:
    """No element so near a kink of ReLU6 that rounding could flip its mask bit."""
    return min(np.abs(y).min(), np.abs(y - 6).min()) > 1e-5
