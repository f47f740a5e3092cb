"""Weight-standardized convolutions: what they are beside Keras's. Numbers are in the parity tests."""

import keras
import numpy as np
import pytest

from tests.tinytl_keras.models import randomized
from tinytl_keras.layers import WeightStandardizedConv2D, WeightStandardizedDepthwiseConv2D

LAYERS = [
    (WeightStandardizedConv2D, {"filters": 6, "kernel_size": 3}, (0, 1, 2)),
    (WeightStandardizedConv2D, {"filters": 6, "kernel_size": 1, "groups": 2, "use_bias": False}, (0, 1, 2)),
    (WeightStandardizedDepthwiseConv2D, {"kernel_size": 3, "strides": 2}, (0, 1)),
    (WeightStandardizedDepthwiseConv2D, {"kernel_size": 5, "depth_multiplier": 2, "activation": "relu"}, (0, 1)),
]


@pytest.mark.parametrize(("cls", "arguments", "axes"), LAYERS)
def test_is_the_keras_layer_with_a_standardized_kernel(cls, arguments, axes):
    inputs = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype("float32")
    ours = cls(frozen=["kernel"], **arguments)
    ours(inputs)
    randomized(ours)
    kernel = ours.kernel.numpy()
    theirs = cls.__mro__[2](**arguments)
    theirs(inputs)
    scaled = (kernel - kernel.mean(axes, keepdims=True)) / (kernel.std(axes, ddof=1, keepdims=True) + 1e-5)
    theirs.set_weights([scaled, *ours.get_weights()[1:]])
    np.testing.assert_allclose(ours(inputs), theirs(inputs), rtol=1e-4, atol=1e-5)
    assert [weight.name for weight in ours.trainable_weights] == (["bias"] if ours.use_bias else [])
    np.testing.assert_array_equal(ours.kernel.numpy(), kernel)

    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    again(inputs)
    again.set_weights(ours.get_weights())
    again.trainable = True
    np.testing.assert_array_equal(again(inputs), ours(inputs))
    assert len(again.trainable_weights) == len(ours.trainable_weights)


@pytest.mark.parametrize("layer", [WeightStandardizedConv2D(4, 1, groups=2), WeightStandardizedDepthwiseConv2D(1)])
def test_a_single_weight_has_no_deviation(layer):
    with pytest.raises(ValueError, match="cannot standardize a kernel of one value"):
        layer.build((None, 4, 4, 2))
