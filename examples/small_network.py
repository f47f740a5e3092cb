"""A small MobileNetV2, and its pretraining on a computer."""

from __future__ import annotations

import keras
import numpy as np
from digits import Variations
from keras import layers
from tqdm.auto import tqdm

from tflite_export.runtime.image_folder import LabelledImages

INPUT_SCALE, INPUT_OFFSET = 1 / 127.5, -1.0  # uint8 pixels -> [-1, 1]
_BLOCKS = ((16, 1), (24, 2), (24, 1), (40, 2), (40, 1), (64, 1))  # output channels, stride
_EXPANSION = 4


def build(size: int, classes: int) -> keras.Model:
    """RGB images [n, size, size, 3] in [-1, 1] -> probabilities [n, classes]; about 66,000 parameters."""
    image = keras.Input((size, size, 3))
    x = _convolution(layers.Conv2D(16, 3, 2, "same", use_bias=False, name="stem"), image)
    for index, (channels, stride) in enumerate(_BLOCKS):
        x = _inverted_residual(x, channels, stride, f"block{index + 1}")
    x = _convolution(layers.Conv2D(128, 1, use_bias=False, name="top"), x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, layers.Dense(classes, "softmax", name="classifier")(x), name="small_mobilenet")


def pretrain(samples: LabelledImages, epochs: int, seed: int = 0) -> keras.Model:
    """A network trained from scratch on new variations of `samples` in every epoch."""
    keras.utils.set_random_seed(seed)
    model = build(samples.images.shape[1], len(samples.class_names))
    batch_size = 64
    rate = keras.optimizers.schedules.CosineDecay(4e-3, epochs * -(-len(samples.labels) // batch_size))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    vary = Variations(seed)
    with tqdm(range(epochs), desc="pretraining") as bar:
        for _ in bar:
            x = vary(samples.images) * np.float32(INPUT_SCALE) + np.float32(INPUT_OFFSET)
            history = model.fit(x, samples.labels, batch_size=batch_size, verbose=0).history
            bar.set_postfix(loss=f"{history['loss'][-1]:.3f}", accuracy=f"{history['accuracy'][-1]:.3f}")
    return model


def _inverted_residual(x, channels: int, stride: int, name: str):
    inputs = x
    expanded = _EXPANSION * x.shape[-1]
    x = _convolution(layers.Conv2D(expanded, 1, use_bias=False, name=f"{name}_expand"), x)
    x = _convolution(layers.DepthwiseConv2D(3, stride, "same", use_bias=False, name=f"{name}_depthwise"), x)
    x = _convolution(layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project"), x, activation=False)
    if stride == 1 and inputs.shape[-1] == channels:
        x = layers.Add(name=f"{name}_add")([inputs, x])
    return x


def _convolution(layer: layers.Layer, x, activation: bool = True):
    x = layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_bn")(layer(x))
    return layers.ReLU(6.0, name=f"{layer.name}_relu")(x) if activation else x
