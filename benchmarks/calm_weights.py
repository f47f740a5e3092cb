"""Random weights that behave like trained ones, in any Keras model: networks.randomise without its networks.

With Keras's own initialisation a ReLU is at every other unit within rounding of its kink somewhere in a deep network,
and signals die down or explode: two runs of Keras itself then have nothing in common after a few steps. So the model
runs once, eagerly, over random inputs, and every layer with a bias or a normalization is fitted on its way: each of its
channels gets a standard deviation and a mean such that the kinks of the activation behind it lie a few deviations away.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from unittest import mock

import keras
import numpy as np
from keras import layers
from networks import images

import tinytl_keras
from tinytl_keras._keras_compat import calls_in_order, graph_of, layers_within

_ROWS = 64
_SUM = "sum, then "
_NORMALIZATIONS = (layers.BatchNormalization, layers.GroupNormalization, layers.LayerNormalization)
_KERNELS = {"Conv": "kernel", "Dense": "kernel", "DepthwiseConv": "kernel", "SeparableConv": "pointwise_kernel"}
# What lies between a layer and the activation that its channels meet, and changes none of their signs.
_TRANSPARENT = ("Add", "BatchNormalization", "Concatenate", "Dropout", "Reshape", "ZeroPadding1D", "ZeroPadding2D")
_LARGEST_GAIN = 4.0  # more would make noise of channels that hardly vary
PIXEL_MEAN, PIXEL_DEVIATION = 127.5, 60.0


def random_inputs(model: keras.Model, rng: np.random.Generator, rows: int, pixels: bool = False) -> list[np.ndarray]:
    """Noise for every input of `model`, float32; around the middle of 0 to 255 if `pixels`."""
    batches = [images(rng, rows, tensor.shape[1:]) for tensor in model.inputs]
    return [np.float32(PIXEL_MEAN) + np.float32(PIXEL_DEVIATION) * batch for batch in batches] if pixels else batches


def calm(model: keras.Model, rng: np.random.Generator, pixels: bool = False) -> None:
    """Changes biases, kernels' scales, normalizations and their statistics; a layer called twice counts as called once.

    Args:
        model: functional or Sequential, models inside it included; converted or not. Lite residual branches, whose
            kinks are in no graph, stay as `networks.randomise_branches` makes them.
        pixels: whether its inputs are pixels of 0 to 255.
    """
    kinks = dict(_kinks(model))
    branches = [layer for layer in layers_within(model) if isinstance(layer, tinytl_keras.layers.LiteResidual)]
    kept = [norm for branch in branches for norm in (branch.norm, branch.last_norm)]
    with contextlib.ExitStack() as stack:
        for layer in layers_within(model):
            fit = _fit_of(layer)
            if fit is not None and layer not in kept:
                activation = kinks.get(id(layer)) or _own_activation(layer)
                call = functools.partial(_fit_and_call, layer, fit, layer.call, activation, rng, set())
                stack.enter_context(mock.patch.object(layer, "call", call))
            elif type(layer).__name__ == "LayerScale":  # starts at 1e-6, which hides the block behind it
                layer.gamma.assign(rng.uniform(0.1, 0.4, layer.gamma.shape))
        inputs = random_inputs(model, rng, _ROWS, pixels)
        model(inputs if len(inputs) > 1 else inputs[0], training=False)


def _kinks(model: keras.Model) -> Iterator[tuple[int, str]]:
    """By the ids of layers, the name of the activation that the outputs of each go to; none where there is none."""
    for graph in filter(None, map(graph_of, layers_within(model))):
        readers: dict[int, list] = {}
        for call in calls_in_order(graph):
            for tensor in call.input_tensors:
                readers.setdefault(id(tensor), []).append(call)
        for call in calls_in_order(graph):
            activation = _activation_behind(call, readers)
            if activation:
                yield id(call.operation), activation


def _activation_behind(call, readers: dict[int, list]) -> str | None:
    own = _own_activation(call.operation)
    if own:
        return own
    for reader in readers.get(id(call.outputs[0]), ()):
        found = _activation_of(reader.operation)
        if found is None and type(reader.operation).__name__ in _TRANSPARENT:
            found = _activation_behind(reader, readers)
        if found:
            return f"{_SUM}{found}" if type(reader.operation).__name__ == "Add" and _SUM not in found else found
    return None


def _own_activation(operation) -> str | None:
    """Of a convolution or dense layer with the argument `activation`."""
    own = getattr(operation, "activation", None)
    return None if own is None or own is keras.activations.linear else _name_of(own)


def _activation_of(operation) -> str | None:
    if isinstance(operation, layers.ReLU):
        return "relu6" if operation.max_value == 6 else "relu"
    if isinstance(operation, layers.Activation):
        return _name_of(operation.activation)
    name = type(operation).__name__.lower()
    return name if name in ("relu", "relu6") else None


def _name_of(activation) -> str:
    """Of a function, a layer, or what `keras.activations.get` takes."""
    return getattr(keras.activations.get(activation), "__name__", type(activation).__name__.lower())


def _wanted(activation: str | None, channels: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Of each channel, the standard deviation and the mean: most pass nearly all, a few are nearly always off."""
    deviation = rng.uniform(0.2, 0.6, channels)
    distance = deviation * rng.uniform(2.3, 3.2, channels)
    if activation in (f"{_SUM}relu", f"{_SUM}relu6"):  # with a shortcut whose mean is above 0 too
        return deviation, distance
    kind = rng.random(channels)
    if activation == "relu":
        return deviation, np.where(kind < 0.1, -distance, distance)
    if activation == "relu6":
        return deviation, np.select([kind < 0.1, kind < 0.2], [-distance, 6 + distance], distance)
    if activation in ("hard_swish", "hard_silu", "hard_sigmoid"):  # kinks at -3 and 3
        return deviation, rng.uniform(-1, 1, channels)
    return rng.uniform(0.35, 1.05, channels), rng.normal(scale=0.2, size=channels)


def _fit_of(layer: keras.layers.Layer) -> Callable | None:
    """What gives the channels of `layer` their deviations and means; None where it has no bias or beta for that."""
    if isinstance(layer, _NORMALIZATIONS):
        channels_last = layer.axis in (-1, [-1], 3, [3])
        if not (layer.scale and layer.center and channels_last):
            return None
        return _fit_batch_normalization if isinstance(layer, layers.BatchNormalization) else _fit_normalization
    has_bias = getattr(layer, "use_bias", False) and isinstance(getattr(layer, "bias", None), keras.Variable)
    return _fit_bias if has_bias and _kernel_of(layer) is not None else None


def _fit_and_call(layer, fit, call, activation, rng, fitted: set, inputs, *args, **kwargs):
    if not fitted:
        fitted.add(True)
        fit(layer, call, activation, rng, inputs)
    return call(inputs, *args, **kwargs)


def _fit_batch_normalization(layer, call, activation, rng, inputs) -> None:
    values = np.asarray(inputs, np.float64)
    axes = tuple(range(values.ndim - 1))
    mean, variance = values.mean(axes), values.var(axes)
    gamma, beta = _wanted(activation, values.shape[-1], rng)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    layer.gamma.assign(_gain(gamma, np.sqrt(variance)) * np.sqrt(variance + layer.epsilon))
    layer.beta.assign(beta)


def _fit_normalization(layer, call, activation, rng, inputs) -> None:
    layer.gamma.assign(np.ones(layer.gamma.shape))
    layer.beta.assign(np.zeros(layer.beta.shape))
    values = np.asarray(call(inputs), np.float64)
    axes = tuple(range(values.ndim - 1))
    deviation, mean = _wanted(activation, values.shape[-1], rng)
    gamma = _gain(deviation, values.std(axes))
    layer.gamma.assign(gamma)
    layer.beta.assign(mean - gamma * values.mean(axes))


def _fit_bias(layer, call, activation, rng, inputs) -> None:
    layer.bias.assign(np.zeros(layer.bias.shape))
    with mock.patch.object(layer, "activation", keras.activations.linear):
        values = np.asarray(call(inputs), np.float64)
    axes = tuple(range(values.ndim - 1))
    deviation, mean = _wanted(activation, values.shape[-1], rng)
    scale = _gain(deviation, values.std(axes))
    kernel = _kernel_of(layer)
    kernel.assign(kernel * scale.reshape(kernel.shape[-2:] if _is_depthwise(layer) else -1))
    layer.bias.assign(mean - scale * values.mean(axes))


def _gain(wanted: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    return np.minimum(wanted / np.maximum(deviation, 1e-12), _LARGEST_GAIN)


def _kernel_of(layer) -> keras.Variable | None:
    name = type(layer).__name__.rstrip("123D")
    name = "Dense" if type(layer).__name__ == "Dense" else name
    return getattr(layer, _KERNELS[name]) if name in _KERNELS else None


def _is_depthwise(layer) -> bool:
    return type(layer).__name__.startswith("Depthwise")
