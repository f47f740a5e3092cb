"""Blocks of real backbones, and of models that hide them."""

import keras
import pytest
from keras import layers

from tests.tinytl_keras.models import nested
from tinytl_keras.blocks import blocks_of

# Blocks of each, as its paper counts them. EfficientNetV2B0 is short of its first, one convolution without a skip.
BACKBONES = {
    "MobileNet": (32, 13),
    "MobileNetV2": (32, 17),
    "MobileNetV3Small": (32, 11),
    "ResNet50": (32, 16),
    "EfficientNetB0": (32, 16),
    "EfficientNetV2B0": (32, 20),
    "DenseNet121": (32, 58),
    "InceptionV3": (75, 11),
    "Xception": (71, 12),
    "ConvNeXtTiny": (32, 18),
    "VGG16": (32, 0),
    "NASNetMobile": (32, 16),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_backbones(name):
    size, count = BACKBONES[name]
    model = getattr(keras.applications, name)(input_shape=(size, size, 3), weights=None, include_top=False)
    found, unseen = blocks_of(model)
    assert sum(len(graph.blocks) for graph in found) == count
    assert unseen == []


def test_skips_of_mobilenet_v2():
    model = keras.applications.MobileNetV2((32, 32, 3), weights=None, include_top=False)
    blocks = blocks_of(model)[0][0].blocks
    assert sum(block.skip for block in blocks) == 10
    assert [block.expands for block in blocks] == [False, *[True] * 16]
    assert sum(block.strides == (2, 2) for block in blocks) == 4


def convolution_norm(filters, kernel, strides=1, groups=1, name=None):
    """The small Sequential that many models are built of."""
    conv = layers.DepthwiseConv2D if groups != 1 else layers.Conv2D
    first = () if groups != 1 else (filters,)
    padded = conv(*first, kernel, strides=strides, padding="same", use_bias=False)
    return keras.Sequential([padded, layers.BatchNormalization(), layers.ReLU()], name=name)


def test_blocks_of_little_models():
    inputs = x = keras.Input((16, 16, 3))
    x = convolution_norm(8, 3, 2)(x)
    for strides in (1, 2):
        y = convolution_norm(24, 1)(x)
        y = convolution_norm(24, 3, strides, groups=24)(y)
        y = layers.BatchNormalization()(layers.Conv2D(8, 1)(y))
        x = layers.Add()([x, y]) if strides == 1 else y
    found, unseen = blocks_of(keras.Model(inputs, x))
    assert [(block.skip, block.strides) for block in found[0].blocks] == [(True, (1, 1)), (False, (2, 2))]
    assert unseen == []


def residual(name):
    inputs = x = keras.Input((8, 8, 4))
    for _ in range(2):
        x = layers.Add()([layers.Conv2D(4, 3, padding="same")(x), x])
    return keras.Model(inputs, x, name=name)


def test_models_inside_are_opened_but_those_of_a_block_are_not():
    inputs = keras.Input((8, 8, 4))
    inner, whole = residual("inner"), residual("whole")
    x = inner(inputs)
    model = keras.Model(inputs, layers.Add()([x, whole(x)]))
    found, unseen = blocks_of(model)
    assert [len(graph.blocks) for graph in found] == [1, 2, 0]
    assert unseen == []
    assert blocks_of(nested())[1] == []


def test_one_model_for_two_inputs_is_opened_once_and_not_reported():
    inner = residual("inner")
    left, right = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    model = keras.Model([left, right], layers.Concatenate()([inner(left), inner(right)]))
    found, unseen = blocks_of(model)
    assert [len(graph.blocks) for graph in found] == [0, 2]
    assert unseen == []


@keras.saving.register_keras_serializable(package="tests")
class HiddenBlock(layers.Layer):
    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.first = layers.Conv2D(filters, 3, padding="same")
        self.second = layers.Conv2D(filters, 3, padding="same")

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build((*input_shape[:-1], self.filters))

    def call(self, inputs):
        return inputs + self.second(self.first(inputs))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


def test_a_layer_that_hides_a_block_is_reported():
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, layers.ReLU()(HiddenBlock(4, name="mystery")(inputs)))
    found, unseen = blocks_of(model)
    assert found[0].blocks == ()
    assert len(unseen) == 1
    assert unseen[0].startswith("layer 'mystery' (HiddenBlock), which is made of several convolutions (if every")
    assert unseen[0].endswith("tinytl_keras.register_block(HiddenBlock))")


def test_a_hidden_layer_beside_a_shortcut_is_a_block():
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, HiddenBlock(4)(inputs) + inputs)
    found, unseen = blocks_of(model)
    assert [block.skip for block in found[0].blocks] == [True]
    assert unseen == []


def test_a_region_without_maps_is_reported():
    inputs = x = keras.Input((4, 4, 4))
    left = layers.Flatten()(layers.Conv2D(2, 3)(x))
    model = keras.Model(inputs, layers.Add()([left, layers.Dense(8)(layers.GlobalAveragePooling2D()(x))]))
    found, unseen = blocks_of(model)
    assert found[0].blocks == ()
    assert len(unseen) == 1 and "no block can be told apart" in unseen[0]


def test_one_dimensional_blocks_are_reported():
    inputs = x = keras.Input((20, 4))
    x = layers.Add(name="sum")([layers.SeparableConv1D(4, 3, padding="same", name="conv")(x), x])
    model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    found, unseen = blocks_of(model)
    assert found[0].blocks == ()
    assert len(unseen) == 1
    assert unseen[0].startswith(
        "the 2 operations from 'conv' to 'sum', in which no block can be told apart that has maps"
    )
    assert unseen[0].endswith("it makes (None, 20, 4)")
