"""Keras's hard-swish and swish with the gradient that `activation_gradients="one_bit"` takes in place of theirs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock


@contextlib.contextmanager
def one_bit_activations() -> Iterator[None]:
    """While open, every keras.activations.hard_swish and silu (swish) that runs has the gradient 1 for x > 0, else 0.

    Their values are Keras's. keras.ops looks both functions up in the backend whenever a layer is called, so layers
    that exist already follow too; what a layer writes out by itself, as x * sigmoid(x), does not.
    """
    from keras.src.backend import nn

    with mock.patch.object(nn, "silu", _one_bit(nn.silu)), mock.patch.object(nn, "hard_silu", _one_bit(nn.hard_silu)):
        yield


def _one_bit(function: Callable) -> Callable:
    import tensorflow as tf

    @tf.custom_gradient
    def approximated(x):
        return function(x), lambda gradient: gradient * tf.cast(x > 0, gradient.dtype)

    return approximated
