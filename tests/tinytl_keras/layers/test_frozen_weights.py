"""The argument `frozen`, on every layer that has it."""

import keras
import numpy as np
import pytest

from tests.tinytl_keras.models import randomized
from tinytl_keras import layers

LAYERS = {
    "BatchNormalization": ({}, (4, 6)),
    "Conv1D": ({"filters": 2, "kernel_size": 3}, (7, 3)),
    "Conv1DTranspose": ({"filters": 2, "kernel_size": 3}, (7, 3)),
    "Conv2D": ({"filters": 4, "kernel_size": 3, "strides": 2, "groups": 2}, (7, 7, 4)),
    "Conv2DTranspose": ({"filters": 2, "kernel_size": 3}, (5, 5, 3)),
    "Conv3D": ({"filters": 2, "kernel_size": 2}, (4, 4, 4, 3)),
    "Conv3DTranspose": ({"filters": 2, "kernel_size": 2}, (4, 4, 4, 3)),
    "Dense": ({"units": 3, "activation": "relu"}, (5,)),
    "DepthwiseConv1D": ({"kernel_size": 3}, (7, 3)),
    "DepthwiseConv2D": ({"kernel_size": 3, "depth_multiplier": 2}, (7, 7, 1)),
    "EinsumDense": ({"equation": "abc,cd->abd", "output_shape": [None, 4], "bias_axes": "d"}, (5, 3)),
    "Embedding": ({"input_dim": 9, "output_dim": 4}, (5,)),
    "GroupNormalization": ({"groups": 2}, (5, 5, 4)),
    "LayerNormalization": ({}, (5, 4)),
    "PReLU": ({}, (5,)),
    "SeparableConv1D": ({"filters": 2, "kernel_size": 3}, (7, 3)),
    "SeparableConv2D": ({"filters": 2, "kernel_size": 3}, (7, 7, 3)),
}


# Layers that have no Keras layer of their name; tested in their own files.
OTHERS = {"GroupConv2D", "WeightStandardizedConv2D", "WeightStandardizedDepthwiseConv2D"}


@pytest.mark.parametrize("name", LAYERS)
def test_is_the_keras_layer_with_frozen_weights(name):
    arguments, shape = LAYERS[name]
    theirs = getattr(keras.layers, name)(**arguments)
    inputs = np.random.default_rng(0).integers(0, 9, (3, *shape)).astype("int32" if name == "Embedding" else "float32")
    theirs(inputs)
    randomized(theirs)
    first, *others = [weight.name for weight in theirs.trainable_weights]

    ours = getattr(layers, name)(frozen=[first], **arguments)
    ours(inputs)
    ours.set_weights(theirs.get_weights())
    assert [weight.name for weight in ours.weights] == [weight.name for weight in theirs.weights]
    assert [weight.name for weight in ours.trainable_weights] == others
    np.testing.assert_array_equal(ours(inputs), theirs(inputs))

    assert keras.saving.get_registered_name(type(ours)) == f"tinytl>{name}"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    again(inputs)
    for trainable in (True, False, True):
        again.trainable = trainable
        assert [weight.name for weight in again.trainable_weights] == (others if trainable else [])
    assert again.get_config() == ours.get_config()


def test_every_public_layer_is_tested_here():
    freezable = {
        name
        for name, value in vars(layers).items()
        if isinstance(value, type) and issubclass(value, layers.FrozenWeights) and value is not layers.FrozenWeights
    }
    assert freezable == set(LAYERS) | OTHERS


def test_unknown_name():
    layer = layers.Dense(2, frozen=["weight"], name="mine")
    with pytest.raises(ValueError, match="'mine' .Dense. has no weight named 'weight'.*'kernel', 'bias'.*frozen="):
        layer.build((None, 3))


def test_one_string():
    with pytest.raises(ValueError, match=r"must be a list of weight names, e.g. \['kernel'\]"):
        layers.Dense(2, frozen="kernel")


def test_frozen_kernel_gets_no_slot_in_the_optimizer():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2, frozen=["kernel"])])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    assert len(model.optimizer.variables) == 2 + 2  # iterations, learning rate, and two moments of the bias
