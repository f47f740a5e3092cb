"""Frozen kernels as int8 constants that become float32 while the step runs, where they are used and only as long.

What a runtime makes of int8 weights by itself is of no use to a training step. A DEQUANTIZE of a constant is kept as a
float32 copy, by LiteRT's kernels (dequantize.cc: kTfLiteArenaRwPersistent) and by XNNPACK (`static_unpacked_data_`),
which packs that copy once more: the file is smaller, the process larger. Hybrid operators round the activations to int8
too, another one for every row, and TFLite Micro has none. So the int8 values are moved and turned as the float32 kernel
would be, then CAST to float32 and multiplied by their scales: exact, one kernel at a time, in the arena.

That a constant is an int8 kernel is told from its values (`small_constants.as_int8`), because what came before has cut
kernels into parts and turned them round.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor
from tflite_export.passes.small_constants import as_int8

SMALLEST = 2048  # elements; the operators that bring back a smaller kernel take more memory than it does
READERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL")
MOVES = ("SLICE", "TRANSPOSE")


@dataclasses.dataclass(frozen=True, eq=False)
class Int8:
    """An int8 tensor and the float32 scales of its channels, of its rank, broadcastable to it."""

    values: Tensor
    scale: np.ndarray

    def moved(self, b: Builder, op: Op) -> Int8:
        """What SLICE or TRANSPOSE, given as an operator on the float32 kernel, makes of it."""
        values = b.op(op.kind, (self.values, *op.inputs[1:]), op.outputs[0].shape, "int8", self.values.quantization)
        if op.kind == "TRANSPOSE":
            return Int8(values, self.scale.transpose(op.inputs[1].data))
        ranges = zip(op.inputs[1].data, op.outputs[0].shape, self.scale.shape, strict=True)
        return Int8(values, self.scale[tuple(slice(i, i + n) if m > 1 else slice(None) for i, n, m in ranges)])

    def scaled(self, b: Builder, unscaled: Tensor) -> Tensor:
        """The kernel, of its steps in float32."""
        return b.mul(unscaled, constant(self.scale, name="scale"))


def int8_kernel(tensor: Tensor | None, smallest: int = SMALLEST) -> Int8 | None:
    """The int8 form of a float32 constant; None for what is small, no constant, or not made of int8 steps."""
    if tensor is None or not tensor.is_constant or tensor.dtype != "float32" or len(tensor.shape) < 2:
        return None
    if tensor.size < smallest:
        return None
    stored = as_int8(dataclasses.replace(tensor, data=tensor.data.reshape(tensor.shape)))
    if stored is None:
        return None
    scale = np.asarray(stored.quantization.scale, np.float32)
    shape = [1] * len(stored.shape)
    if scale.size > 1:
        shape[stored.quantization.axis] = scale.size
    return Int8(dataclasses.replace(stored, quantization=None), scale.reshape(shape))
