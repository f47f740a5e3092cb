"""What activations leave for the backward pass: arenas of a training step, exact and with one-bit gradients.

python benchmarks/activations.py
"""

from __future__ import annotations

import keras
from keras import layers
from text_table import table

import tinytl_keras
from tflite_export.training_memory import training_memory

_KERNELS = ("builtin", "xnnpack")


def separable(activation: str, size: int = 96) -> keras.Model:
    """A strided stem and three blocks of expansion, depthwise convolution and projection, each with a shortcut."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.Activation(activation)(layers.Conv2D(16, 3, strides=2, padding="same")(x))
    for _ in range(3):
        y = layers.Activation(activation)(layers.Conv2D(48, 1)(x))
        y = layers.Activation(activation)(layers.DepthwiseConv2D(3, padding="same")(y))
        x = layers.Add()([x, layers.Conv2D(16, 1)(y)])
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def mobilenet_v3(size: int = 96) -> keras.Model:
    return keras.applications.MobileNetV3Small(input_shape=(size, size, 3), weights=None, classes=10)


def rows() -> list[list[str]]:
    """Network, gradients, then kB: an arena for each kernel set, and that of stock inference."""
    networks = {f"separable, {name}": separable(name) for name in ("relu6", "silu", "hard_swish", "gelu")}
    networks["MobileNetV3Small"] = mobilenet_v3()
    found_rows = []
    for name, network in networks.items():
        model = tinytl_keras.convert(network, "bias")
        for gradients in ("exact", "one_bit"):
            found = [training_memory(model, kernels=kernels, activation_gradients=gradients) for kernels in _KERNELS]
            sizes = [*(memory.arena_bytes for memory in found), found[0].inference_arena_bytes]
            found_rows.append([name, gradients, *(f"{size / 1e3:.0f}" for size in sizes)])
    return found_rows


if __name__ == "__main__":
    print(table(["network", "gradients", *_KERNELS, "inference"], rows(), left=2))
