"""Which layer is the classifier, and what `num_classes` puts in its place."""

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import cnn, images, mobilenet, nested, outputs_of, randomized, trained_names


def features_of(model: keras.Model, layer_name: str) -> keras.Model:
    """The model up to what the named layer reads."""
    return keras.Model(model.inputs[0], model.get_layer(layer_name).input)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_dense_classifier_and_softmax_are_replaced_by_a_linear_one(dropout):
    model = cnn()
    converted = tinytl_keras.convert(model, "last", num_classes=7, head_dropout=dropout)
    names = [layer.name for layer in converted.layers]
    assert names[-2:] == (["head_dropout", "head"] if dropout else [model.layers[-3].name, "head"])
    assert "dense" not in names
    head = converted.get_layer("head")
    assert converted.output_shape == (None, 7)
    assert head.activation is keras.activations.linear
    assert trained_names(converted) == ["head/kernel", "head/bias"]
    expected = features_of(model, "dense")(images()).numpy() @ head.kernel.numpy()
    np.testing.assert_allclose(converted(images()), expected, rtol=1e-5, atol=1e-6)
    if dropout:
        assert converted.get_layer("head_dropout").rate == dropout


def test_feature_map_is_pooled():
    converted = tinytl_keras.convert(mobilenet(include_top=False), "bias", num_classes=5)
    assert [layer.name for layer in converted.layers][-3:] == ["out_relu", "head_pooling", "head"]
    assert converted.output_shape == (None, 5)


def test_pooled_features_get_just_a_dense_layer():
    backbone = keras.applications.MobileNetV2(
        (32, 32, 3), alpha=0.35, weights=None, include_top=False, pooling="avg", name="backbone"
    )
    converted = tinytl_keras.convert(backbone, "last", num_classes=np.int64(5))
    assert [layer.name for layer in converted.layers][-2:] == [backbone.layers[-1].name, "head"]


@pytest.mark.parametrize(("shape", "pooling"), [((6, 3), "1D"), ((4, 5, 6, 3), "3D")])
def test_features_of_other_ranks_are_pooled(shape, pooling):
    inputs = keras.Input(shape)
    converted = tinytl_keras.convert(keras.Model(inputs, layers.ReLU()(inputs)), "last", num_classes=2)
    assert type(converted.get_layer("head_pooling")).__name__ == f"GlobalAveragePooling{pooling}"


def test_convolution_on_one_point_is_a_classifier():
    """MobileNet v1's top: 1x1 convolution, reshape, softmax."""
    model = randomized(keras.applications.MobileNet((32, 32, 3), alpha=0.25, weights=None, classes=4))
    assert trained_names(tinytl_keras.convert(model, "last")) == ["conv_preds/kernel", "conv_preds/bias"]
    converted = tinytl_keras.convert(model, "last", num_classes=3)
    assert [layer.name for layer in converted.layers][-3:] == ["dropout", "head_pooling", "head"]
    expected = features_of(model, "conv_preds")(images(2, 32)).numpy()[:, 0, 0] @ converted.get_layer("head").kernel
    np.testing.assert_allclose(converted(images(2, 32)), expected, rtol=1e-5, atol=1e-5)


def test_convolution_on_a_map_is_no_classifier():
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.ReLU()(layers.Conv2D(4, 1, name="conv")(inputs)))
    converted = tinytl_keras.convert(model, "bias", num_classes=2)
    assert trained_names(converted) == ["conv/bias", "head/kernel", "head/bias"]


@pytest.mark.parametrize("end", [layers.Softmax(), layers.Activation("sigmoid"), keras.ops.softmax])
def test_convolution_on_a_map_whose_average_becomes_probabilities(end):
    """SqueezeNet's top. The new head must read what the old one does, not probabilities of the old classes."""
    inputs = keras.Input((8, 8, 3))
    scores = layers.Conv2D(4, 1, activation="relu", name="scores")(layers.DepthwiseConv2D(3, name="last")(inputs))
    model = keras.Model(inputs, end(layers.GlobalAveragePooling2D()(scores)))
    assert trained_names(tinytl_keras.convert(model, "last")) == ["scores/kernel", "scores/bias"]
    converted = tinytl_keras.convert(model, "last", num_classes=2)
    assert [layer.name for layer in converted.layers][-3:] == ["last", "head_pooling", "head"]


@pytest.mark.parametrize("num_classes", [None, 6])
def test_classifier_in_a_model_inside_the_model(num_classes):
    inputs = keras.Input((8, 8, 3))
    model = randomized(keras.Model(inputs, layers.Activation("tanh")(cnn()(inputs))))
    converted = tinytl_keras.convert(model, "last", num_classes=num_classes)
    if num_classes is None:
        assert trained_names(converted) == ["dense/kernel", "dense/bias"]
    else:
        assert [layer.name for layer in converted.layers][-1] == "cnn"
        assert trained_names(converted) == ["head/kernel", "head/bias"]
        assert converted.output_shape == (None, 6)
        logits = outputs_of(converted.get_layer("cnn"), images())
        np.testing.assert_array_equal(outputs_of(converted, images()), logits)


def test_classifier_behind_a_model_inside_the_model():
    converted = tinytl_keras.convert(nested(), "bias", num_classes=6)
    assert trained_names(converted) == ["stem/bias", "conv/bias", "norm/beta", "head/kernel", "head/bias"]


def test_a_dense_layer_that_is_called_before_too_stays_there():
    dense = layers.Dense(3, name="dense")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, dense(layers.ReLU()(dense(inputs))))
    converted = tinytl_keras.convert(model, "last", num_classes=2)
    assert trained_names(converted) == ["head/kernel", "head/bias"]
    assert converted.get_layer("head").kernel.shape == (3, 2)
    assert converted.get_layer("dense").trainable_variables == []


def test_a_model_that_is_called_twice_cannot_lose_its_classifier():
    block = keras.Sequential([keras.Input((3,)), layers.Dense(3)], name="block")
    inputs = keras.Input((3,))
    model = keras.Model(inputs, block(block(inputs)))
    assert len(tinytl_keras.convert(model, "last").trainable_variables) == 2
    with pytest.raises(ValueError, match="'block', which is called more than once"):
        tinytl_keras.convert(model, "last", num_classes=2)


def test_names_of_the_new_layers_are_free():
    inputs = keras.Input((8, 8, 3))
    conv = layers.Conv2D(4, 3, name="head")(inputs)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="head_pooling")(conv))
    converted = tinytl_keras.convert(model, "bias", num_classes=2)
    assert [layer.name for layer in converted.layers][1:] == ["head", "head_pooling", "head_1"]
    again = tinytl_keras.convert(converted, "bias", num_classes=3)
    assert [layer.name for layer in again.layers][1:] == ["head", "head_pooling", "head_1"]


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        converted = tinytl_keras.convert(cnn(), "bias", num_classes=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert converted.get_layer("conv").compute_dtype == "float16"
    assert converted(images()).dtype == "float32"
