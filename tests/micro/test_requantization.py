"""The compiler's numbers of int8 layers are those that the C helpers compute."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.micro.bindings import CQuantization, address
from tflite_export.graph import Op, Quantization, Tensor
from tflite_export.micro.int8_activations import quantised_bias
from tflite_export.micro.requantization import activation_range, fixed_point, quantization_of, requantization

ACTIVATIONS = {"NONE": 0, "RELU": 1, "RELU6": 2}


def test_multipliers(kernels):
    factors = np.concatenate(
        [np.random.default_rng(0).uniform(0, 1, 200) ** 8, [2.0**-31, 1e-12, 0.5, 1.0, 1.7, 900.5]]
    )
    for factor in factors:
        multiplier, shift = ctypes.c_int32(), ctypes.c_int32()
        places = ctypes.byref(multiplier), ctypes.byref(shift)
        assert kernels.tinytl_quantize_multiplier(ctypes.c_double(factor), *places) == 0
        assert fixed_point(float(factor)) == (multiplier.value, shift.value), factor


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("low, high", [(0, 6), (0, 5.3), (-1.7, 9), (-4, 0.5), (0, 0.01), (-300, 2)])
def test_activation_ranges(kernels, activation, low, high):
    quantization = quantization_of(low, high)
    y = Tensor("y", (1, 2, 2, 1), "int8", None, quantization)
    least, largest = ctypes.c_int32(), ctypes.c_int32()
    given = ctypes.byref(CQuantization(quantization.scale[0], quantization.zero_point[0]))
    places = ctypes.byref(least), ctypes.byref(largest)
    assert kernels.tinytl_activation_range(ACTIVATIONS[activation], given, *places) == 0
    assert activation_range(Op("conv", (), (y,), {"activation": activation})) == (least.value, largest.value)


def test_biases(kernels):
    random = np.random.default_rng(1)
    bias = np.concatenate([random.normal(size=500), [0, 1e9, -1e9, 0.5, -0.5, 1.5]]).astype(np.float32)
    scales = np.concatenate([random.uniform(1e-6, 1e-2, 500), [0.5, 1e-9, 1e-9, 1, 1, 1]]).astype(np.float32)
    got = np.empty(bias.size, np.int32)
    step = np.float32(0.0371)
    places = address(bias), address(scales), ctypes.c_float(step), bias.size, address(got)
    assert kernels.tinytl_quantize_bias(*places) == 0
    np.testing.assert_array_equal(quantised_bias(bias, scales, float(step)), got)


@pytest.mark.parametrize("low, high", [(-1, 1), (0, 6), (2, 6), (-5, -1), (0, 0), (-1e-30, 1e-30), (-7.3, 0.2)])
def test_scales_hold_the_range_and_zero(low, high):
    ((scale,), (zero_point,)) = (q := quantization_of(low, high)).scale, q.zero_point
    assert -128 <= zero_point <= 127 and scale > 0
    ends = [scale * (end - zero_point) for end in (-128, 127)]
    assert ends[0] <= min(low, 0) + 0.51 * scale
    assert ends[1] >= max(high, 0) - 0.51 * scale


def test_a_layer_s_numbers():
    """sum * multiplier * 2^(shift - 31) is the sum's value in steps of the output."""
    x = Tensor("x", (1, 2, 2, 3), "int8", None, Quantization((0.02,), (-7,)))
    kernel = Tensor("kernel", (2, 1, 1, 3), "int8", np.ones((2, 1, 1, 3), np.int8), Quantization((0.01, 0.3), (0, 0)))
    y = Tensor("y", (1, 2, 2, 2), "int8", None, Quantization((0.05,), (-128,)))
    numbers = requantization(Op("conv", (x, kernel, None), (y,), {"activation": "RELU6"}))
    factors = [m * 2.0 ** (s - 31) for m, s in zip(numbers.multiplier, numbers.shift)]
    np.testing.assert_allclose(factors, [0.02 * 0.01 / 0.05, 0.02 * 0.3 / 0.05], rtol=1e-8)
    assert (numbers.input_zero_point, numbers.output_zero_point) == (-7, -128)
    assert (numbers.activation_min, numbers.activation_max) == (-128, -8)
