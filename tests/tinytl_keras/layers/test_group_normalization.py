"""The paper's group normalization is Keras's, in operations of rank 4."""

import keras
import numpy as np
import pytest

from tests.tinytl_keras.models import randomized
from tinytl_keras.layers import GroupNormalization
from tinytl_keras.layers.group_normalization import largest_divisor


@pytest.mark.parametrize(
    ("shape", "groups"), [((5, 3, 16), 2), ((1, 1, 12), 2), ((4, 20), 4), ((3, 3, 7), 1), ((11,), 11)]
)
def test_computes_what_keras_computes(shape, groups):
    inputs = np.random.default_rng(0).normal(2, 3, (3, *shape)).astype("float32")
    ours = GroupNormalization(channels_per_group=8, frozen=["gamma"])
    theirs = keras.layers.GroupNormalization(groups)
    for layer in (ours, theirs):
        layer(inputs)
        randomized(layer)
    assert ours.groups == groups
    np.testing.assert_allclose(ours(inputs), theirs(inputs), rtol=1e-5, atol=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    again(inputs)
    again.set_weights(ours.get_weights())
    np.testing.assert_array_equal(again(inputs), ours(inputs))
    assert [weight.name for weight in again.trainable_weights] == ["beta"]


def test_unknown_sizes():
    inputs = keras.Input((None, None, 16))
    model = keras.Model(inputs, GroupNormalization(channels_per_group=8)(inputs))
    images = np.random.default_rng(0).normal(size=(2, 5, 3, 16)).astype("float32")
    expected = GroupNormalization(channels_per_group=8)(images)
    np.testing.assert_array_equal(model(images), expected)
    assert model.predict(images, verbose=0).shape == images.shape


def test_half_precision_does_not_overflow():
    images = np.full((1, 8, 8, 8), 300.0)
    images[:, ::2] = -300
    outputs = GroupNormalization(channels_per_group=8, dtype="float16")(images)
    np.testing.assert_allclose(np.abs(outputs), 1, rtol=1e-2)


@pytest.mark.parametrize("arguments", [{"channels_per_group": 0}, {"channels_per_group": 8, "axis": 1}])
def test_refusals(arguments):
    with pytest.raises(ValueError, match="`channels_per_group` must be 1 or more, and the channel axis the last"):
        GroupNormalization(**arguments)


def test_largest_divisor():
    assert [largest_divisor(number, 8) for number in (1, 7, 8, 12, 16, 22, 23)] == [1, 7, 8, 6, 8, 2, 1]
