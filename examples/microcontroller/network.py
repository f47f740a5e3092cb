"""A network for a microcontroller: a MobileNetV2 whose first maps, the largest, have few channels."""

from __future__ import annotations

import keras
from keras import layers

_BLOCKS = ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1))  # output channels, stride
_EXPANSION = 3


def build(size: int, classes: int) -> keras.Model:
    """RGB images [n, size, size, 3] in [-1, 1] -> probabilities [n, classes]; about 32,000 parameters."""
    image = keras.Input((size, size, 3))
    x = _convolution(layers.Conv2D(8, 3, 2, "same", use_bias=False, name="stem"), image)
    x = _convolution(layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="first_depthwise"), x)
    x = _convolution(layers.Conv2D(16, 1, use_bias=False, name="first_project"), x, activation=False)
    for index, (channels, stride) in enumerate(_BLOCKS):
        x = _inverted_residual(x, channels, stride, f"block{index + 1}")
    x = _convolution(layers.Conv2D(96, 1, use_bias=False, name="top"), x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(classes, "softmax", name="classifier")(x), name="learner")


def _inverted_residual(x, channels: int, stride: int, name: str):
    inputs = x
    expand = layers.Conv2D(_EXPANSION * x.shape[-1], 1, use_bias=False, name=f"{name}_expand")
    x = _convolution(expand, x)
    x = _convolution(layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise"), x)
    x = _convolution(layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project"), x, activation=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _convolution(layer: layers.Layer, x, activation: bool = True):
    x = layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_bn")(layer(x))
    return layers.ReLU(6.0, name=f"{layer.name}_relu")(x) if activation else x
