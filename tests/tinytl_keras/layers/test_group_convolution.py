"""Group convolutions are Keras's, with another way to the same gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tinytl_keras.models import randomized
from tinytl_keras.layers import GroupConv2D


@pytest.mark.parametrize(
    ("arguments", "channels"),
    [
        ({"filters": 6, "kernel_size": 3, "groups": 2, "strides": 2}, 4),
        ({"filters": 6, "kernel_size": (1, 2), "groups": 3, "strides": (1, 2)}, 3),
        ({"filters": 4, "kernel_size": 3, "groups": 2, "padding": "same"}, 4),
        ({"filters": 4, "kernel_size": 3}, 4),
    ],
)
def test_values_and_gradients_are_those_of_keras(arguments, channels):
    images = tf.constant(np.random.default_rng(0).normal(size=(3, 7, 6, channels)), "float32")
    results = []
    for layer in (GroupConv2D(**arguments), keras.layers.Conv2D(**arguments)):
        layer(images)
        randomized(layer)

        @tf.function
        def step(layer=layer):
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = layer(images)
                loss = tf.reduce_sum(outputs * outputs)
            return outputs, tape.gradient(loss, [images, *(weight.value for weight in layer.weights)])

        results.append(tf.nest.flatten(step()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
