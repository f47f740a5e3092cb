"""Goldens of the int8 forward passes: integer arithmetic in numpy, exact to the bit."""

from __future__ import annotations

import math
import struct

import numpy as np
import tensorflow as tf

from tests.micro import convolution_cases, map_cases, windows
from tests.micro.convolution_cases import CONVOLUTIONS, DEPTHWISE, POINTWISE
from tests.micro.goldens import Call, Out, Requantization
from tests.micro.windows import AWKWARD, Window


def quantized_multiplier(factor: float) -> tuple[int, int]:
    """(multiplier, shift) with multiplier * 2^(shift - 31) nearest to the factor, multiplier in [2^30, 2^31)."""
    fraction, exponent = math.frexp(factor)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    return (multiplier // 2, exponent + 1) if multiplier == 2**31 else (multiplier, exponent)


def requantize(values: np.ndarray, multiplier, shift) -> np.ndarray:
    """CMSIS-NN's arithmetic: doubling high multiply, half up; then a shift, half away from zero."""
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    left = np.maximum(shift, 0)
    high = np.floor_divide((values.astype(np.int64) << left) * multiplier + 2**30, 2**31)
    divisor = np.left_shift(np.int64(1), left - shift)
    return np.sign(high) * ((np.abs(high) * 2 + divisor) // (2 * divisor))


def _quantization(scale: float, zero_point: int) -> bytes:
    return struct.pack("<fi", scale, zero_point)


def _finish(sums, multiplier, shift, numbers) -> tuple[np.ndarray, np.ndarray]:
    """int8 outputs and their packed mask."""
    _, zero_point, low, high = numbers
    y = np.clip(requantize(sums, multiplier, shift) + zero_point, low, high)
    return y.astype(np.int8), windows.packed_mask((y > low) & (y < high))


def layer_calls(name, prefix, window: Window, channels, kernel_shape, convolve, params, space, seed) -> list[Call]:
    generator = np.random.default_rng([400, seed])
    x = generator.integers(-128, 128, window.input).astype(np.int8)
    kernel = generator.integers(-127, 128, kernel_shape).astype(np.int8)
    bias = generator.integers(-2000, 2000, channels).astype(np.int32)
    zero_point = int(generator.integers(-128, 128))
    products = convolve(tf.constant(x.astype(np.float64) - zero_point), tf.constant(kernel.astype(np.float64)))
    sums = np.rint(products.numpy()).astype(np.int64)
    spread = max(1.0, float(np.abs(sums + bias).max()))
    # Channels differ, some saturate; one is amplified, which shifts to the left.
    factors = generator.uniform(20, 200, channels) / spread
    factors[0] = 1.7
    multiplier, shift = np.array([quantized_multiplier(f) for f in factors]).T
    output_zero = int(generator.integers(-100, 50))
    calls = []
    for label, given, low, high in (("", bias, output_zero, min(127, output_zero + 90)), (" linear", None, -128, 127)):
        numbers = (zero_point, output_zero, low, high)
        y, mask = _finish(sums + (0 if given is None else given), multiplier, shift, numbers)
        requantization = Requantization(multiplier, shift, numbers)
        for what, out in (("", Out(mask)), (" no mask", None)):
            arguments = (params, requantization, x, kernel, given, Out(y), out, space, space.size)
            calls.append(Call(f"{name} s8{label}{what}", f"tinytl_{prefix}_forward_s8", arguments))
    return calls


def layers() -> list[Call]:
    calls = []
    for seed, (window, channels, groups) in enumerate(CONVOLUTIONS):
        shape = (channels, *window.kernel, window.input[3] // groups)
        params = window.struct(channels) + struct.pack("<ii", groups, 0)
        space = convolution_cases.conv_space(window, max(window.input[3], channels) // groups)
        name = f"conv {window.input} {window.kernel} {window.strides} -> {channels} / {groups}"
        convolve = convolution_cases.convolution(window, groups)
        calls += layer_calls(name, "conv", window, channels, shape, convolve, params, space, seed)
    for seed, (pixels, inputs, outputs) in enumerate(POINTWISE):
        window = Window((1, 1, pixels, inputs), (1, 1))
        params = struct.pack("<4i", pixels, inputs, outputs, 0)
        space = convolution_cases.conv_space(window, max(inputs, outputs))
        convolve, name = convolution_cases.convolution(window, 1), f"pointwise {pixels} x {inputs} -> {outputs}"
        shape = (outputs, 1, 1, inputs)
        calls += layer_calls(name, "pointwise", window, outputs, shape, convolve, params, space, 50 + seed)
        roomier = convolution_cases.int8_space(window, inputs)
        if roomier.size > space.size:
            calls += layer_calls(name, "pointwise", window, outputs, shape, convolve, params, roomier, 50 + seed)
    for seed, window in enumerate(DEPTHWISE):
        channels = window.input[3]
        params = window.struct(channels) + struct.pack("<i", 0)
        space = convolution_cases.depthwise_space(window)
        name = f"depthwise {window.input} {window.kernel} {window.strides}"
        convolve = convolution_cases.depthwise_convolution(window)
        shape = (*window.kernel, channels)
        calls += layer_calls(name, "depthwise", window, channels, shape, convolve, params, space, 100 + seed)
    return calls


def conversions() -> list[Call]:
    generator = np.random.default_rng(500)
    x = (generator.normal(size=300) * 20).astype(np.float32)
    x[:4] = np.inf, -np.inf, np.nan, 1e30
    calls = []
    for scale, zero_point in ((0.25, -3), (0.1, 127), (1.5, -128)):
        scaled = (x / np.float32(scale)).astype(np.float64)
        rounded = np.nan_to_num(np.trunc(scaled + np.copysign(0.5, scaled)), nan=0.0, posinf=1e9, neginf=-1e9)
        q = np.clip(rounded + zero_point, -128, 127).astype(np.int8)
        given = _quantization(scale, zero_point)
        calls.append(Call(f"quantize {scale} {zero_point}", "tinytl_quantize", (x, x.size, given, Out(q))))
        back = ((q.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)
        calls.append(Call(f"dequantize {scale} {zero_point}", "tinytl_dequantize", (q, q.size, given, Out(back))))
    bias, scales = x[4:20], generator.uniform(0.001, 0.1, 16).astype(np.float32)
    exact = bias.astype(np.float64) / (np.float32(0.02) * scales).astype(np.float64)
    quantized = Out(np.rint(exact).astype(np.int32), tolerance=1.0)
    calls.append(Call("quantize bias", "tinytl_quantize_bias", (bias, scales, 0.02, 16, quantized)))
    return calls


def additions() -> list[Call]:
    calls = []
    for seed, (pixels, channels) in enumerate(((1, 1), (9, 8), (5, 13))):
        generator = np.random.default_rng([600, seed])
        a, b = generator.integers(-128, 128, (2, pixels, channels)).astype(np.int8)
        scales = [float(np.float32(s)) for s in generator.uniform(0.01, 0.1, 3)]
        zeros = [int(z) for z in generator.integers(-128, 128, 3)]
        common = 2 * max(scales[:2])
        lifted = [
            requantize((v.astype(np.int64) - z) << 20, *quantized_multiplier(s / common))
            for v, s, z in zip((a, b), scales, zeros)
        ]
        low, high = (-128, 127) if seed % 2 else (zeros[2], 127)
        y = requantize(sum(lifted), *quantized_multiplier(common / (2**20 * scales[2]))) + zeros[2]
        y = np.clip(y, low, high)
        mask = windows.packed_mask((y > low) & (y < high))
        given = [_quantization(s, z) for s, z in zip(scales, zeros)]
        arguments = (a, given[0], b, given[1], pixels, channels, given[2], low, high)
        calls.append(Call(f"add s8 {seed}", "tinytl_add_s8", (*arguments, Out(y.astype(np.int8)), Out(mask))))
        calls.append(Call(f"add s8 {seed} no mask", "tinytl_add_s8", (*arguments, Out(y.astype(np.int8)), None)))
    return calls


def pools() -> list[Call]:
    calls = []
    for seed, window in enumerate(AWKWARD):
        x = np.random.default_rng([700, seed]).integers(-128, 128, window.input).astype(np.int8)
        total = map_cases.taps(window, tf.constant(x.astype(np.float64)), 0.0).numpy().sum(3)
        count = map_cases.taps(window, tf.ones(window.input, tf.float64), 0.0).numpy().sum(3)
        y = np.trunc((np.abs(total) + count // 2) / count) * np.sign(total)
        arguments = (window.struct(window.input[3]), x, Out(y.astype(np.int8)))
        calls.append(Call(f"average pool s8 {window.input}", "tinytl_average_pool_forward_s8", arguments))
        mean = (x.astype(np.float64).mean((1, 2)) + 5) * np.float32(0.3)
        arguments = (struct.pack("<4i", *window.input), _quantization(0.3, -5), x, Out(mean.astype(np.float32)))
        calls.append(Call(f"global average s8 {window.input}", "tinytl_global_average_forward_s8", arguments))
        calls += _max_pools(window, x)
    return calls


def _max_pools(window: Window, x: np.ndarray) -> list[Call]:
    patches = map_cases.taps(window, tf.constant(x.astype(np.float64)), -np.inf).numpy()
    y, argmax = patches.max(3).astype(np.int8), patches.argmax(3).astype(np.uint8)
    params, name = window.struct(window.input[3]), f"max pool s8 {window.input}"
    return [
        Call(name, "tinytl_max_pool_forward_s8", (params, x, Out(y), Out(argmax))),
        Call(f"{name} y only", "tinytl_max_pool_forward_s8", (params, x, Out(y), None)),
    ]


def activations() -> list[Call]:
    calls = []
    for seed, (pixels, channels) in enumerate(((1, 1), (9, 8), (5, 13))):
        x = np.random.default_rng([800, seed]).integers(-128, 128, (pixels, channels)).astype(np.int8)
        for low, high in ((-128, 127), (-5, 90)):
            y = np.clip(x, low, high)
            mask = windows.packed_mask((y > low) & (y < high))
            name, arguments = f"activate s8 {pixels} x {channels} {low}", (x, pixels, channels, low, high)
            calls.append(Call(name, "tinytl_activate_s8", (*arguments, Out(y), Out(mask))))
            calls.append(Call(f"{name} no mask", "tinytl_activate_s8", (*arguments, Out(y), None)))
    pixels = np.arange(256, dtype=np.uint8)
    q = (np.arange(256) - 128).astype(np.int8)
    return [*calls, Call("pixels to int8", "tinytl_pixels_to_int8", (pixels, 256, Out(q)))]


def resized_sums() -> list[Call]:
    calls = []
    for shape, size in map_cases.RESIZES:
        generator = np.random.default_rng([900, *shape, *size])
        x, output = generator.normal(size=shape).astype(np.float32), (shape[0], *size, shape[3])
        a = generator.integers(-128, 128, output).astype(np.int8)
        resized = tf.image.resize(tf.constant(x, tf.float64), size, "bilinear").numpy()
        sums = ((a.astype(np.float64) - 4) * np.float32(0.02) + resized) / np.float32(0.03)
        y = np.clip(np.trunc(sums + np.copysign(0.5, sums)) - 11, -128, 127).astype(np.int8)
        params = struct.pack("<8i", *shape, *output)
        arguments = (params, x, a, _quantization(0.02, 4), _quantization(0.03, -11), Out(y))
        calls.append(Call(f"resize and add s8 {shape} -> {size}", "tinytl_resize_bilinear_add_s8", arguments))
    return calls
