"""Which numbers a Keras model's frozen kernels become where a file stores them in 8 bits.

Symmetric, one scale per output channel: the largest magnitude of a channel is 127 steps. Frozen BatchNormalization,
which the converter folds into a kernel, scales whole output channels, so the folded kernel is made of as many steps of
another scale, and `passes.int8_kernels` finds them again. Biases, statistics, tables of embeddings and whatever trains
stay float32.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from tflite_export.graph import Variable

FROZEN = ("float32", "int8")
STEPS = 127


def rounded(values: np.ndarray, axes: tuple[int, ...], sums_to_zero: bool = False) -> np.ndarray:
    """The nearest int8 numbers of every channel, times its scale, as float32.

    Args:
        values: a kernel.
        axes: those along which the values of one channel lie.
        sums_to_zero: round so that the steps of a channel sum to zero, of what `values` differ from the channel's mean:
            standardizing such a kernel scales it, and nothing else.
    """
    real = np.asarray(values, np.float64)
    if sums_to_zero:
        real = real - real.mean(axis=axes, keepdims=True)
    scale = np.abs(real).max(axis=axes, keepdims=True).astype(np.float32) / np.float32(STEPS)
    scale[scale == 0] = 1
    steps = np.rint(real / scale)
    if sums_to_zero:
        steps = _balanced(steps, real / scale, axes)
    return (steps.astype(np.float32) * scale).astype(np.float32)


def _balanced(steps: np.ndarray, exact: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """`steps` with so many of a channel's values one further as make its sum zero: those that lose least by it."""
    front = tuple(range(len(axes)))
    moved = np.moveaxis(steps, axes, front)
    table = moved.reshape(int(np.prod(moved.shape[: len(axes)])), -1).copy()
    misses = np.moveaxis(exact, axes, front).reshape(table.shape) - table
    for channel in range(table.shape[1]):
        column, excess = table[:, channel], int(table[:, channel].sum())
        direction = -np.sign(excess)
        order = np.argsort(-direction * misses[:, channel], kind="stable")
        movable = order[np.abs(column[order] + direction) <= STEPS]
        column[movable[: abs(excess)]] += direction
    return np.moveaxis(table.reshape(moved.shape), front, axes)


def rounded_weights(model, trained: Collection[str]) -> dict[int, np.ndarray]:
    """The rounded values of every frozen kernel of a Keras model, by `id` of its variable.

    Args:
        model: a built Keras model.
        trained: the paths of the weights that train.
    """
    found = {}
    for layer in model._flatten_layers():
        for kernel, axes in _kernels(layer):
            if kernel.path not in trained:
                zero = getattr(layer, "standardizes_kernel", False)
                found[id(kernel)] = rounded(np.array(kernel.numpy()), axes, sums_to_zero=zero)
    return found


def check_any_rounded(model, variables: Collection[Variable]) -> None:
    """Raises ValueError where no kernel of `model` is frozen."""
    if not rounded_weights(model, {variable.name for variable in variables}):
        raise ValueError(
            f"frozen='int8': no kernel of model {model.name!r} is frozen, so there is nothing to store in 8 bits. "
            "Leave it out, or convert the model by a method that freezes kernels, such as 'bias'"
        )


def values_of(model, weights, trained: Collection[str], frozen: str) -> list[np.ndarray]:
    """The values of `weights` of `model`, as numpy arrays, in a file with `frozen` kernels ("float32" or "int8")."""
    changed = rounded_weights(model, trained) if frozen == "int8" else {}
    return [changed[id(v)] if id(v) in changed else np.array(v.numpy()) for v in weights]


def _kernels(layer) -> Iterator[tuple[object, tuple[int, ...]]]:
    """Every kernel of a layer, without those of layers inside it, and the axes of one output channel's values."""
    from keras import layers
    from keras.src.layers.convolutional.base_conv import BaseConv
    from keras.src.layers.convolutional.base_conv_transpose import BaseConvTranspose
    from keras.src.layers.convolutional.base_depthwise_conv import BaseDepthwiseConv
    from keras.src.layers.convolutional.base_separable_conv import BaseSeparableConv

    if isinstance(layer, BaseSeparableConv):
        yield layer.depthwise_kernel, _but(layer.depthwise_kernel, -2, -1)
        yield layer.pointwise_kernel, _but(layer.pointwise_kernel, -1)
    elif isinstance(layer, BaseDepthwiseConv):
        yield layer.kernel, _but(layer.kernel, -2, -1)
    elif isinstance(layer, BaseConvTranspose):
        yield layer.kernel, _but(layer.kernel, -2)
    elif isinstance(layer, BaseConv | layers.Dense):
        yield layer.kernel, _but(layer.kernel, -1)
    elif isinstance(layer, layers.EinsumDense):  # whose output channels may lie along any axes
        yield layer.kernel, _but(layer.kernel)


def _but(kernel, *kept: int) -> tuple[int, ...]:
    rank = len(kernel.shape)
    return tuple(axis for axis in range(rank) if axis - rank not in kept)
