"""What each tap of a sliding window sees, as slices as large as the window's output."""

from __future__ import annotations

import math

import numpy as np

from tflite_export.builder import Builder
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Op, Tensor


class Taps:
    """The window of a convolution or pool over its input x [n, height, width, c], with outputs [n, rows, columns, …].

    With a stride, x is split into the strides' phases first (SPACE_TO_DEPTH), of which every tap is a plain slice.
    Padding is zeros; `inside` tells where a tap lies on the image.
    """

    def __init__(self, b: Builder, op: Op, x: Tensor, window: tuple[int, int], outputs: tuple[int, int]):
        attributes = op.attributes
        self.b, self.window, self.outputs = b, window, outputs
        self.stride = (attributes["stride_h"], attributes["stride_w"])
        self.dilation = (attributes.get("dilation_h_factor", 1), attributes.get("dilation_w_factor", 1))
        self.padding = explicit_padding(attributes["padding"], x.shape[1:3], window, self.stride, self.dilation)
        self.size, self.channels = x.shape[1:3], x.shape[3]
        self.lengths = [self._phase_length(axis) for axis in range(2)]
        behind = [self.lengths[i] * self.stride[i] - self.padding[i][0] - self.size[i] for i in range(2)]
        pads = [(0, 0), *((self.padding[i][0], behind[i]) for i in range(2)), (0, 0)]
        self.phases = b.space_to_depth(b.pad(x, pads), self.stride)

    def _phase_length(self, axis: int) -> int:
        """Enough for all of x and for all that the window reaches."""
        whole = math.ceil((self.padding[axis][0] + self.size[axis]) / self.stride[axis])
        reach = (self.window[axis] - 1) * self.dilation[axis] // self.stride[axis] + self.outputs[axis]
        return max(whole, reach)

    def offset(self, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """(phase, begin within the phase) of a tap, each (height, width)."""
        position = (row * self.dilation[0], column * self.dilation[1])
        begin, phase = zip(*map(divmod, position, self.stride))
        return phase, begin

    def tap(self, row: int, column: int) -> Tensor:
        """[n, rows, columns, c]: what the tap sees at every output."""
        phase, begin = self.offset(row, column)
        channel = (phase[0] * self.stride[1] + phase[1]) * self.channels
        size = (self.phases.shape[0], *self.outputs, self.channels)
        return self.b.slice(self.phases, (0, *begin, channel), size)

    def inside(self, row: int, column: int) -> np.ndarray:
        """bool [rows, columns]: where the tap lies on the image, not in the padding."""
        axes = []
        for axis, tap in enumerate((row, column)):
            first = tap * self.dilation[axis] - self.padding[axis][0]
            position = np.arange(self.outputs[axis]) * self.stride[axis] + first
            axes.append((position >= 0) & (position < self.size[axis]))
        return axes[0][:, None] & axes[1][None, :]
