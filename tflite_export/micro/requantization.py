"""The numbers of int8 layers: scales and zero points from ranges, and from both how int32 sums become int8 outputs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflite_export.graph import Op, Quantization

STEPS = 255  # of int8, between its ends


@dataclasses.dataclass(frozen=True)
class Requantization:
    """A tinytl_requantization: multiplier and shift of every output channel, then its numbers."""

    multiplier: tuple[int, ...]
    shift: tuple[int, ...]
    input_zero_point: int
    output_zero_point: int
    activation_min: int
    activation_max: int

    @property
    def nbytes(self) -> int:
        return 8 * len(self.multiplier) + 24


def quantization_of(low: float, high: float, least: float = 0.0) -> Quantization:
    """Of values in [low, high], and of 0, which is a step of its own: padding is made of it. The scale is `least` at
    least."""
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    scale = np.float32((high - low) / STEPS) if high > low else np.float32(1)
    scale = max(scale, np.float32(least), np.finfo(np.float32).tiny)
    return Quantization((float(scale),), (int(np.clip(round(-128 - low / float(scale)), -128, 127)),))


def requantization(op: Op) -> Requantization:
    """Of a convolution with an int8 input and output."""
    x, kernel, y = op.inputs[0].quantization, op.inputs[1].quantization, op.outputs[0].quantization
    factors = [x.scale[0] * scale / y.scale[0] for scale in kernel.scale]
    multiplier, shift = zip(*map(fixed_point, factors))
    low, high = activation_range(op)
    return Requantization(multiplier, shift, x.zero_point[0], y.zero_point[0], low, high)


def fixed_point(factor: float) -> tuple[int, int]:
    """(multiplier, shift): multiplier * 2^(shift - 31) is next to the factor; tinytl_quantize_multiplier's."""
    fraction, exponent = math.frexp(factor)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return (multiplier, exponent) if exponent >= -31 else (0, 0)


def activation_range(op: Op) -> tuple[int, int]:
    """The least and the largest int8 that the activation of `op` lets through; tinytl_activation_range's."""
    quantization, activation = op.outputs[0].quantization, op.attributes.get("activation", "NONE")
    (scale,), (zero_point,) = quantization.scale, quantization.zero_point
    low = -128 if activation == "NONE" else zero_point
    six = np.float32(6) / np.float32(max(scale, 2.0**-8))  # in smaller steps it is past 127 whatever the zero point
    high = zero_point + int(np.floor(six + np.float32(0.5))) if activation == "RELU6" else 127
    return low, min(high, 127)
