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
    """Random biases, and BatchNormalization that makes training a well-posed problem.

    Keras initialises biases, betas, gammas and statistics to constants, which hides mistakes. Plain random ones have
    the opposite fault: a ReLU at every other unit is within rounding of its kink somewhere in the network, and after a
    few steps two runs of Keras itself that differ by one rounding have nothing in common. Trained networks are calmer.
    So here, before a ReLU6, a channel's kinks lie 2 to 3 standard deviations from its mean: most channels pass nearly
    every pixel, some are nearly always off, some nearly always saturated, and in all of them a few pixels differ. The
    statistics come from one pass over random images.
    """
    for variable in model.variables:
        if variable.path.endswith("/bias"):
            variable.assign(rng.normal(scale=0.2, size=variable.shape))
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for layer in normalizations:
        gamma, beta = _gamma_and_beta(layer.name, layer.gamma.shape[0], rng)
        layer.gamma.assign(gamma)
        layer.beta.assign(beta)
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    model(images(rng, _CALIBRATION_ROWS, model.input_shape[1:]), training=True)
    for layer, momentum in zip(normalizations, momenta):
        layer.momentum = momentum


def _gamma_and_beta(name: str, channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation and the mean that each channel of the layer `name` of a MobileNetV2 gets."""
    if name.endswith("project_BN"):  # no activation behind it
        return rng.uniform(0.35, 1.05, channels), rng.normal(scale=0.2, size=channels)
    deviation = rng.uniform(0.2, 0.6, channels)
    distance = deviation * rng.uniform(2.0, 3.2, channels)
    kind = rng.random(channels)
    if name == "Conv_1_bn":  # The features. Larger ones would make the head diverge at the rates used here.
        return 0.12 * deviation, 0.12 * np.where(kind < 0.15, -distance, distance)
    return deviation, np.select([kind < 0.15, kind < 0.25], [-distance, 6 + distance], distance)


def images(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise, float32 [rows, *shape]."""
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def labels(rng: np.random.Generator, rows: int) -> np.ndarray:
    """int32 [rows]."""
    return rng.integers(0, CLASSES, rows).astype(np.int32)
