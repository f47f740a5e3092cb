"""The walk through nested, shared, padded and unsized models."""

import keras
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import nested, residual, shared
from tinytl_keras.layers import LiteResidual
from tinytl_keras.memory.leaf_calls import leaf_calls


def walked(model):
    return [(call.name, *(map_.shape for map_ in (*call.inputs, *call.outputs))) for call in leaf_calls(model)]


def test_models_inside_are_opened():
    stem, conv, norm, pooling, dense = walked(nested())
    assert stem == ("backbone/stem", (8, 8, 3), (6, 6, 4))
    assert conv == ("backbone/inner/conv", (6, 6, 4), (4, 4, 5))
    assert norm == ("backbone/inner/norm", (4, 4, 5), (4, 4, 5))
    assert pooling[1:] == ((4, 4, 5), (5,))
    assert dense == ("dense", (5,), (2,))


def test_a_shared_layer_is_walked_once_a_call():
    names = [name for name, *_ in walked(shared())]
    assert names.count("conv") == 2 and names.count("block/point") == 2


def test_a_model_inside_that_takes_any_size_gets_the_size_that_it_is_called_with():
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(4, 3, strides=2, name="conv")], name="inner")
    inputs = keras.Input((9, 7, 3))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inner(inputs)))
    assert walked(model)[0] == ("inner/conv", (9, 7, 3), (4, 3, 4))


def test_a_padded_map_is_the_map_before_it():
    inputs = keras.Input((5, 5, 2))
    outputs = layers.Conv2D(3, 3, name="conv")(layers.ZeroPadding2D(2)(inputs))
    assert walked(keras.Model(inputs, outputs)) == [("conv", (5, 5, 2), (7, 7, 3))]


def test_a_branch_follows_its_main_path():
    names = walked(tinytl_keras.convert(residual()))
    first = next(i for i, (name, *_) in enumerate(names) if name.startswith("one_lite_residual"))
    assert [name.split("/")[1] for name, *_ in names[first : first + 5]] == [
        "group_conv",
        "norm",
        "activation",
        "point_conv",
        "last_norm",
    ]


def test_a_wrapped_main_layer_comes_first():
    inputs = keras.Input((7, 9, 3))
    main = layers.Conv2D(4, 3, strides=2, padding="same", name="main")
    outputs = LiteResidual(main, kernel_size=3, name="wrapped")(inputs)
    assert walked(keras.Model(inputs, outputs)) == [
        ("main", (7, 9, 3), (4, 5, 4)),
        ("wrapped/group_conv", (3, 4, 3), (2, 2, 8)),
        ("wrapped/norm", (2, 2, 8), (2, 2, 8)),
        ("wrapped/activation", (2, 2, 8), (2, 2, 8)),
        ("wrapped/point_conv", (2, 2, 8), (2, 2, 4)),
        ("wrapped/last_norm", (2, 2, 4), (2, 2, 4)),
    ]


def test_what_cannot_be_walked():
    class Custom(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="no graph of layers.*convert"):
        leaf_calls(Custom(name="custom"))
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"size of its input.*Received: shape \(None, None, None, 3\)"):
        leaf_calls(keras.Model(inputs, layers.Conv2D(2, 3)(inputs)))
