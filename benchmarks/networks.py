"""The networks that the benchmarks run, with random weights that behave like trained ones."""

from __future__ import annotations

import re

import keras
import numpy as np
from keras import layers

import tinytl_keras

CLASSES = 10
PLAIN = "plain CNN"
_PLAIN_SHAPE = (45, 37, 3)
_CALIBRATION_ROWS = 16


def build(name: str, method: str, seed: int = 0) -> keras.Model:
    """The network `name` with random weights from `seed`, converted by `method` to `CLASSES` outputs.

    Args:
        name: "MobileNetV2-<alpha>@<size>", or "…@<height>x<width>", or `PLAIN`.
    """
    keras.utils.set_random_seed(seed)
    network = _plain() if name == PLAIN else _mobilenet_v2(name)
    randomise(network, np.random.default_rng(seed))
    return tinytl_keras.convert(network, method, num_classes=CLASSES)


def parse(name: str) -> tuple[float, tuple[int, int]]:
    """Alpha, and height and width, of "MobileNetV2-0.5@75x91"."""
    match = re.fullmatch(r"MobileNetV2-([\d.]+)@(\d+)(?:x(\d+))?", name)
    if match is None:
        raise ValueError(f"a network is {PLAIN!r} or MobileNetV2-<alpha>@<size> or …@<height>x<width>, got {name!r}")
    height = int(match[2])
    return float(match[1]), (height, int(match[3] or height))


def _mobilenet_v2(name: str) -> keras.Model:
    alpha, (height, width) = parse(name)
    return keras.applications.MobileNetV2((height, width, 3), alpha=alpha, weights=None, classes=100)


def _plain() -> keras.Model:
    """Convolutions with biases and no normalization, both kinds of pooling, odd sizes, two dense layers."""
    image = keras.Input(_PLAIN_SHAPE)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1")(image)
    x = layers.MaxPooling2D(2, name="max_pool")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.AveragePooling2D(2, name="average_pool")(x)
    x = layers.Conv2D(32, 3, strides=2, activation="relu", name="conv3")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(64, activation="relu", name="hidden")(x)
    return keras.Model(image, layers.Dense(CLASSES, "softmax", name="classifier")(x), name="plain_cnn")


def randomise(model: keras.Model, rng: np.random.Generator) -> None:
    """Random biases, betas and gammas, and BatchNormalization statistics that fit them.

    Keras initialises those to constants, which hides mistakes: a bias of zero, statistics that change nothing. The
    statistics come from one pass over random images, without which activations grow or vanish with depth. Gammas
    below one keep the network from being chaotic; it would enlarge float32's rounding in a few training steps.
    """
    for variable in model.variables:
        if variable.path.endswith(("/beta", "/bias")):
            variable.assign(rng.normal(scale=0.2, size=variable.shape))
        elif variable.path.endswith("/gamma"):
            variable.assign(rng.uniform(0.35, 1.05, size=variable.shape))
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(images(rng, _CALIBRATION_ROWS, model.input_shape[1:]), training=True)
    for layer, momentum in zip(normalizations, momenta):
        layer.momentum = momentum


def images(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise, float32 [rows, *shape]."""
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def labels(rng: np.random.Generator, rows: int) -> np.ndarray:
    """int32 [rows]."""
    return rng.integers(0, CLASSES, rows).astype(np.int32)
