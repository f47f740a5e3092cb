"""Goldens of convolution, pointwise and depthwise convolution."""

from __future__ import annotations

import struct

import numpy as np
import tensorflow as tf

from tests.micro import windows
from tests.micro.goldens import Call, Optimizer, Out, Space, Variable
from tests.micro.windows import AWKWARD, Window

_TAP_BYTES, _PANEL_ROWS, _PANEL_WIDTH = 8, 128, 8


def conv_space(window: Window, channels: int) -> Space:
    """What tinytl_conv_workspace_bytes says, written down once more."""
    taps = window.kernel[0] * window.kernel[1]
    return Space(taps * _TAP_BYTES + min(taps * channels, max(taps, _PANEL_ROWS)) * _PANEL_WIDTH * 4)


def int8_space(window: Window, channels: int) -> Space:
    """Room for the widened kernels of four output channels. `channels` are the input's, of one group."""
    taps = window.kernel[0] * window.kernel[1]
    return Space(taps * _TAP_BYTES + taps * -(-channels // 4) * 32)


def depthwise_space(window: Window) -> Space:
    taps = window.kernel[0] * window.kernel[1]
    return Space(taps * _TAP_BYTES + taps * 32 * min(4, -(-window.input[3] // 8)))


class Layer:
    """Random tensors of one layer and their exact gradients, for a loss that is the sum of output * upstream."""

    def __init__(self, seed, window: Window, channels: int, activation: int, kernel_shape, scale_axis: int, forward):
        for attempt in range(100):
            generator = np.random.default_rng([seed, attempt])
            self.x = generator.normal(size=window.input).astype(np.float32)
            self.bias = generator.normal(size=channels).astype(np.float32)
            self.scale = (generator.uniform(0.5, 1.5, channels) / 127).astype(np.float32)
            self.kernel_int8 = generator.integers(-127, 128, kernel_shape).astype(np.int8)
            shape = [1] * len(kernel_shape)
            shape[scale_axis] = channels
            self.kernel = self.kernel_int8.astype(np.float32) * self.scale.reshape(shape)
            x, kernel = tf.constant(self.x, tf.float64), tf.constant(self.kernel, tf.float64)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch((x, kernel))
                before = forward(x, kernel) + self.bias.astype(np.float64)
                tape.watch(before)
                after = windows.activate(before, activation)
            if windows.is_clear(before.numpy()):
                break
        self.y = after.numpy().astype(np.float32)
        self.mask = windows.packed_mask(tape.gradient(after, before).numpy())
        self.dy = generator.normal(size=self.y.shape).astype(np.float32)
        upstream = tf.constant(self.dy, tf.float64)
        self.dx = tape.gradient(before, x, upstream).numpy()
        self.dkernel = tape.gradient(before, kernel, upstream).numpy()
        self.below, self.mask_below = windows.random_mask(generator, window.input)
        self.dx_before = generator.normal(size=window.input).astype(np.float32)


def convolution(window: Window, groups: int):
    """The forward pass on float64 tensors, before the bias."""
    return lambda x, kernel: windows.convolve(window, x, kernel, groups)


def depthwise_convolution(window: Window):
    return lambda x, kernel: windows.convolve_depthwise(window, x, kernel)


def _float32(array) -> np.ndarray:
    return np.asarray(array).astype(np.float32)


def layer_calls(name: str, prefix: str, layer: Layer, params: bytes, space: Space, float_kernel: bool) -> list[Call]:
    """Forward with and without mask and bias, input gradient plain, masked and accumulated."""
    kernels = [("", (layer.kernel_int8, layer.scale))]
    if float_kernel:
        kernels.append(("_f32", (layer.kernel,)))
    calls = []
    masked = (layer.dx + layer.dx_before) * layer.below
    for suffix, kernel in kernels:
        forward, gradient = f"tinytl_{prefix}_forward{suffix}", f"tinytl_{prefix}_input_gradient{suffix}"
        tail = (space, space.size)
        y, mask, dx = Out(layer.y), Out(layer.mask), Out(_float32(layer.dx))
        added = Out(_float32(masked), layer.dx_before)
        calls += [
            Call(f"{name}{suffix}", forward, (params, layer.x, *kernel, layer.bias, y, mask, *tail)),
            Call(f"{name}{suffix} no mask", forward, (params, layer.x, *kernel, layer.bias, y, None, *tail)),
            Call(f"{name}{suffix} dx", gradient, (params, layer.dy, *kernel, None, False, dx, *tail)),
            Call(f"{name}{suffix} dx +=", gradient, (params, layer.dy, *kernel, layer.mask_below, True, added, *tail)),
        ]
    return calls


def _kernel_calls(name: str, prefix: str, layer: Layer, params: bytes, generator: np.random.Generator) -> list[Call]:
    """The kernel gradient added to what is there, and fused with an update by SGD."""
    before = generator.normal(size=layer.kernel.shape).astype(np.float32)
    rate = 0.01
    updated = Variable(Out(_float32(layer.kernel - rate * layer.dkernel), layer.kernel))
    return [
        Call(
            f"{name} dkernel",
            f"tinytl_{prefix}_kernel_gradient",
            (params, layer.x, layer.dy, Out(_float32(before + layer.dkernel), before)),
        ),
        Call(
            f"{name} kernel update",
            f"tinytl_{prefix}_kernel_update",
            (params, layer.x, layer.dy, updated, Optimizer(kind=0, learning_rate=rate)),
        ),
    ]


# (window, output channels, groups): every AWKWARD window, then groups and channel counts around the blocks of 3, 4, 8.
CONVOLUTIONS = (
    *((window, 5 + i, 1) for i, window in enumerate(AWKWARD)),
    (Window((1, 6, 5, 8), (3, 3)), 8, 2),
    (Window((1, 7, 7, 12), (5, 5), (2, 2), (2, 2, 4, 4)), 6, 3),
    (Window((2, 5, 5, 16), (5, 5), (1, 1), (2, 2, 5, 5)), 24, 2),
    (Window((1, 4, 4, 28), (3, 3), (2, 2)), 8, 4),
    (Window((1, 4, 3, 6), (3, 3)), 14, 2),  # a group begins at bit 7 of a mask's byte
    (Window((1, 3, 8, 70), (3, 1)), 9, 1),
    (Window((1, 16, 16, 3), (3, 3), (2, 2)), 8, 1),
)


def convolutions() -> list[Call]:
    calls = []
    for seed, (window, channels, groups) in enumerate(CONVOLUTIONS):
        activation = seed % 3
        shape = (channels, *window.kernel, window.input[3] // groups)
        layer = Layer(seed, window, channels, activation, shape, 0, convolution(window, groups))
        params = window.struct(channels) + struct.pack("<ii", groups, activation)
        space = conv_space(window, max(window.input[3], channels) // groups)
        name = f"conv {window.input} {window.kernel} {window.strides} -> {channels} / {groups}"
        calls += layer_calls(name, "conv", layer, params, space, float_kernel=True)
        calls += _kernel_calls(name, "conv", layer, params, np.random.default_rng(seed))
    return calls


# (pixels, input channels, output channels)
POINTWISE = (
    *((1, 1, 1), (1, 20, 10), (2, 7, 5), (3, 8, 8), (4, 16, 4)),
    *((5, 65, 12), (16, 3, 17), (49, 24, 72), (50, 9, 1), (7, 300, 11), (4, 601, 5)),
)


def pointwises() -> list[Call]:
    calls = []
    for seed, (pixels, inputs, outputs) in enumerate(POINTWISE):
        activation = seed % 3
        window = Window((1, 1, pixels, inputs), (1, 1))
        layer = Layer(100 + seed, window, outputs, activation, (outputs, 1, 1, inputs), 0, convolution(window, 1))
        params = struct.pack("<4i", pixels, inputs, outputs, activation)
        name = f"pointwise {pixels} x {inputs} -> {outputs}"
        calls += layer_calls(name, "pointwise", layer, params, conv_space(window, max(inputs, outputs)), True)
        calls += _kernel_calls(name, "pointwise", layer, params, np.random.default_rng(seed))
    return calls


DEPTHWISE = (*AWKWARD, Window((1, 12, 12, 40), (3, 3)), Window((1, 9, 9, 33), (7, 7), (2, 2)))


def depthwises() -> list[Call]:
    calls = []
    for seed, window in enumerate(DEPTHWISE):
        activation = (2, 1, 0)[seed % 3]
        channels = window.input[3]
        shape = (*window.kernel, channels)
        layer = Layer(200 + seed, window, channels, activation, shape, 2, depthwise_convolution(window))
        params = window.struct(channels) + struct.pack("<i", activation)
        name = f"depthwise {window.input} {window.kernel} {window.strides}"
        calls += layer_calls(name, "depthwise", layer, params, depthwise_space(window), float_kernel=False)
    return calls
