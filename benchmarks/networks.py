"""The networks that the benchmarks run, with random weights that behave like trained ones."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Callable
from unittest import mock

import keras
import numpy as np
from keras import layers

import tinytl_keras

CLASSES = 10
PLAIN = "plain CNN"
_PLAIN_SHAPE = (45, 37, 3)
_CALIBRATION_ROWS = 16
# Both make gradients larger beside their weights. With Keras's own initialisation, those of a deep network's first
# layers, and of branches, are so small that a weight's rounding is a hundredth of its update.
_HEAD_SCALE = 3
_SMALLEST_DEVIATION = 0.1
_BRANCH_SCALE = 0.25  # of gamma and beta; what follows normalizes it away


def build(name: str, method: str, seed: int = 0, classes: int = CLASSES) -> keras.Model:
    """The network `name` with random weights from `seed`, converted by `method` to `classes` outputs.

    Args:
        name: "MobileNetV2-<alpha>@<size>", or "ProxylessNAS-Mobile@<size> batch" or "… group" (the normalization), or
            `PLAIN`. A size may be <height>x<width>.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    network = _network(name)
    randomise(network, rng)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no residual or inverted residual block")  # PLAIN has none
        model = tinytl_keras.convert(network, method, num_classes=classes)
    randomise_branches(model, rng)
    if method != "full":  # whose loss would explode
        head = model.layers[-1]
        head.kernel.assign(_HEAD_SCALE * head.kernel)
    return model


def parse(name: str) -> tuple[float | str, tuple[int, int]]:
    """Alpha of "MobileNetV2-0.5@75x91", or the normalization of "ProxylessNAS-Mobile@96 group"; height and width."""
    match = re.fullmatch(r"MobileNetV2-(?P<alpha>[\d.]+)@(?P<size>\d+(x\d+)?)", name) or re.fullmatch(
        r"ProxylessNAS-Mobile@(?P<size>\d+(x\d+)?) (?P<norm>batch|group)", name
    )
    if match is None:
        raise ValueError(
            f"a network is {PLAIN!r}, MobileNetV2-<alpha>@<size>, ProxylessNAS-Mobile@<size> batch or … group, and a "
            f"size may be <height>x<width>; got {name!r}"
        )
    parts = match.groupdict()
    height, _, width = parts["size"].partition("x")
    return parts.get("norm") or float(parts["alpha"]), (int(height), int(width or height))


def _network(name: str) -> keras.Model:
    if name == PLAIN:
        return _plain()
    alpha_or_norm, size = parse(name)
    if isinstance(alpha_or_norm, str):
        return tinytl_keras.backbones.ProxylessNASMobile((*size, 3), norm=alpha_or_norm)
    return keras.applications.MobileNetV2((*size, 3), alpha=alpha_or_norm, weights=None, classes=100)


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
    """Random biases, and normalization that makes training a well-posed problem.

    Keras initialises biases, betas, gammas and statistics to constants, which hides mistakes. Plain random ones have
    the opposite fault: a ReLU at every other unit is within rounding of its kink somewhere in the network, and after a
    few steps two runs of Keras itself that differ by one rounding have nothing in common. Trained networks are calmer.
    So here, before a ReLU6, a channel's kinks lie about 3 standard deviations from its mean: most channels pass nearly
    every pixel, some are nearly always off, some nearly always saturated, and in all of them a few pixels differ. The
    statistics come from one pass over random images.
    """
    for variable in model.variables:
        if variable.path.endswith("/bias"):
            variable.assign(rng.normal(scale=0.2, size=variable.shape))
    normalizations = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    grouped = [layer for layer in model.layers if isinstance(layer, layers.GroupNormalization)]
    for layer in (*normalizations, *grouped):
        _assign(layer, *_gamma_and_beta(layer.name, layer.gamma.shape[0], rng))
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    with contextlib.ExitStack() as stack:
        for layer in grouped:
            stack.enter_context(mock.patch.object(layer, "call", functools.partial(_call_and_fit, layer, layer.call)))
        model(images(rng, _CALIBRATION_ROWS, model.input_shape[1:]), training=True)
    for layer, momentum in zip(normalizations, momenta):
        layer.momentum = momentum


def _call_and_fit(layer: keras.layers.GroupNormalization, call: Callable, inputs):
    """Changes gamma and beta so that they are what each channel's deviation and mean on `inputs` become.

    A group shares its statistics, and channels differ in their means more than within themselves.
    """
    deviation, mean = layer.gamma.numpy(), layer.beta.numpy()
    _assign(layer, np.ones_like(deviation), np.zeros_like(mean))
    normalized = np.asarray(call(inputs))
    gamma = deviation / np.maximum(normalized.std((0, 1, 2)), _SMALLEST_DEVIATION)
    _assign(layer, gamma, mean - gamma * normalized.mean((0, 1, 2)))
    return call(inputs)


def randomise_branches(model: keras.Model, rng: np.random.Generator) -> None:
    """The normalizations of lite residual branches; the last gamma, which starts at 0 and hides the others' gradients,
    becomes a small random one.
    """
    for branch in model._flatten_layers():  # those of models inside it too
        if isinstance(branch, tinytl_keras.layers.LiteResidual):
            middle, filters = branch.norm.gamma.shape[0], branch.last_norm.gamma.shape[0]
            deviation, distance = _deviation_and_distance(middle, rng)
            beta = np.where(rng.random(middle) < 0.15, -distance, distance)
            _assign(branch.norm, _BRANCH_SCALE * deviation, _BRANCH_SCALE * beta)
            _assign(branch.last_norm, rng.normal(scale=0.1, size=filters), rng.normal(scale=0.1, size=filters))


def _assign(layer: keras.layers.Layer, gamma: np.ndarray, beta: np.ndarray) -> None:
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)


def _gamma_and_beta(name: str, channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The standard deviation and the mean that each channel of the layer `name` gets."""
    if name.endswith(("project_BN", "project_norm")):  # no activation behind it
        return rng.uniform(0.35, 1.05, channels), rng.normal(scale=0.2, size=channels)
    deviation, distance = _deviation_and_distance(channels, rng)
    kind = rng.random(channels)
    if name in ("Conv_1_bn", "proxyless_last_conv_norm"):  # The features. Larger ones would make the head diverge.
        return 0.12 * deviation, 0.12 * np.where(kind < 0.15, -distance, distance)
    return deviation, np.select([kind < 0.15, kind < 0.25], [-distance, 6 + distance], distance)


def _deviation_and_distance(channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel: the standard deviation, and how far from the mean the kink lies."""
    deviation = rng.uniform(0.2, 0.6, channels)
    return deviation, deviation * rng.uniform(2.3, 3.2, channels)


def images(rng: np.random.Generator, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Noise, float32 [rows, *shape]."""
    return rng.normal(size=(rows, *shape)).astype(np.float32)


def labels(rng: np.random.Generator, rows: int) -> np.ndarray:
    """int32 [rows]."""
    return rng.integers(0, CLASSES, rows).astype(np.int32)
