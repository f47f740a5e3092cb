"""The helpers of int8 activations against Python's own arithmetic."""

import ctypes

import numpy as np
import pytest

from tests.micro import quantized_cases
from tests.micro.bindings import CQuantization, CRequantization, address


@pytest.mark.parametrize("factor", [1e-9, 2**-31, 0.00037, 0.25, 0.5, 0.9999999999, 1.0, 1.7, 1000.5, 2.0**29])
def test_multiplier(kernels, factor):
    multiplier, shift = ctypes.c_int32(), ctypes.c_int32()
    assert (
        kernels.tinytl_quantize_multiplier(ctypes.c_double(factor), ctypes.byref(multiplier), ctypes.byref(shift)) == 0
    )
    assert (multiplier.value, shift.value) == quantized_cases.quantized_multiplier(factor)
    assert multiplier.value * 2.0 ** (shift.value - 31) == pytest.approx(factor, rel=1e-9)


@pytest.mark.parametrize("factor", [0.0, -1.0, 2.0**30, np.inf, np.nan])
def test_refused_multipliers(kernels, factor):
    numbers = [ctypes.byref(ctypes.c_int32(5)) for _ in range(2)]
    assert kernels.tinytl_quantize_multiplier(ctypes.c_double(factor), *numbers) == 3


def test_a_vanishing_factor_gives_zero(kernels):
    multiplier, shift = ctypes.c_int32(5), ctypes.c_int32(5)
    assert (
        kernels.tinytl_quantize_multiplier(ctypes.c_double(1e-12), ctypes.byref(multiplier), ctypes.byref(shift)) == 0
    )
    assert multiplier.value == 0


@pytest.mark.parametrize(
    "activation, scale, zero_point, expected",
    [
        (0, 0.1, 5, (-128, 127)),
        (1, 0.1, 5, (5, 127)),
        (2, 0.1, 5, (5, 65)),
        (2, 6 / 255, -128, (-128, 127)),
        (2, 1e-3, 0, (0, 127)),
    ],
)
def test_activation_range(kernels, activation, scale, zero_point, expected):
    low, high = ctypes.c_int32(), ctypes.c_int32()
    quantization = ctypes.byref(CQuantization(scale, zero_point))
    assert kernels.tinytl_activation_range(activation, quantization, ctypes.byref(low), ctypes.byref(high)) == 0
    assert (low.value, high.value) == expected


@pytest.mark.parametrize("scale, zero_point", [(0.0, 0), (-1.0, 0), (np.inf, 0), (np.nan, 0), (1.0, 128), (1.0, -129)])
def test_refused_quantizations(kernels, scale, zero_point):
    one, q = np.ones(1, np.float32), np.full(1, 9, np.int8)
    quantization = ctypes.byref(CQuantization(scale, zero_point))
    assert kernels.tinytl_quantize(address(one), 1, quantization, address(q)) == 3
    assert q[0] == 9


def test_int8_follows_float(kernels):
    """A layer computed in int8 lies within its own rounding of the same layer computed in float."""
    generator = np.random.default_rng(3)
    pixels, inputs, outputs = 50, 40, 12
    x = generator.normal(size=(pixels, inputs)).astype(np.float32)
    kernel = generator.integers(-127, 128, (outputs, inputs)).astype(np.int8)
    scale = (generator.uniform(0.5, 1.5, outputs) / 127).astype(np.float32)
    bias = generator.normal(size=outputs).astype(np.float32)
    x_scale, x_zero = np.float32(np.abs(x).max() / 120), 7
    q = np.clip(np.rint(x / x_scale) + x_zero, -128, 127).astype(np.int8)
    exact = (q.astype(np.float64) - x_zero) * x_scale @ (kernel * scale[:, None]).T.astype(np.float64) + bias
    exact = np.maximum(exact, 0)
    y_scale = exact.max() / 255
    multipliers = [quantized_cases.quantized_multiplier(float(x_scale) * float(s) / y_scale) for s in scale]
    multiplier, shift = np.array(multipliers, np.int32).T.copy()
    quantized, y = np.empty(outputs, np.int32), np.empty((pixels, outputs), np.int8)

    places = address(bias), address(scale), ctypes.c_float(x_scale), outputs, address(quantized)
    assert kernels.tinytl_quantize_bias(*places) == 0
    requantization = CRequantization(multiplier.ctypes.data, shift.ctypes.data, x_zero, -128, -128, 127)
    params = np.array([pixels, inputs, outputs, 0], np.int32)
    space = np.empty(kernels.tinytl_pointwise_workspace_bytes(address(params)), np.uint8)
    parts = [address(params), ctypes.byref(requantization), *map(address, (q, kernel, quantized, y)), None]
    assert kernels.tinytl_pointwise_forward_s8(*parts, address(space), ctypes.c_size_t(space.size)) == 0
    assert np.abs((y.astype(np.float64) + 128) * y_scale - exact).max() <= 0.51 * y_scale + 1e-3
