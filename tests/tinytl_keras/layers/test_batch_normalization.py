"""Batch normalization with stored statistics is Keras's own inference, always."""

import keras
import numpy as np
import pytest

from tests.tinytl_keras.models import images, randomized
from tinytl_keras.layers import BatchNormalization


@pytest.mark.parametrize("training", [None, False, True])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"scale": False}, {"center": False}, {"axis": 1, "epsilon": 1e-5}, {"renorm": True}, {"synchronized": True}],
)
def test_computes_inference(arguments, training):
    frozen = [] if arguments.get("scale") is False else ["gamma"]
    ours, theirs = BatchNormalization(frozen=frozen, **arguments), keras.layers.BatchNormalization(**arguments)
    for layer in (ours, theirs):
        layer.build((None, 8, 8, 3))
        randomized(layer)
    statistics = [weight.numpy().copy() for weight in ours.non_trainable_weights]
    np.testing.assert_array_equal(ours(images(), training=training), theirs(images(), training=False))
    for before, after in zip(statistics, ours.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)


def test_frozen_gamma_trainable_beta():
    layer = BatchNormalization(frozen=["gamma"])
    layer.build((None, 3))
    assert [weight.name for weight in layer.trainable_weights] == ["beta"]


def test_statistics_do_not_move_in_fit():
    layer = BatchNormalization()
    model = keras.Sequential([keras.Input((8, 8, 3)), layer, keras.layers.Flatten(), keras.layers.Dense(1)])
    randomized(model)
    before = {weight.name: weight.numpy().copy() for weight in layer.weights}
    model.compile("sgd", "mse")
    model.fit(images(), np.ones(4), epochs=2, verbose=0)
    for weight in layer.weights:
        assert np.array_equal(weight.numpy(), before[weight.name]) == weight.name.startswith("moving"), weight.name
