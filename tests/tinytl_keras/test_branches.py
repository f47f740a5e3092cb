"""Where convert() puts lite residual branches, with what kernel, and that the output stays."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import cnn, inputs_of, mobilenet, residual, trained_names
from tests.tinytl_keras.test_blocks import HiddenBlock
from tinytl_keras.layers import LiteResidual


def branches_of(model):
    return {layer.name: layer for layer in model._flatten_layers() if isinstance(layer, LiteResidual)}


def backbone(name, size):
    """With biases, scales and statistics that no initializer gives, but no signal that vanishes or explodes."""
    model = getattr(keras.applications, name)(input_shape=(*size, 3), weights=None, include_top=False)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if not isinstance(layer, layers.Normalization):
            for weight in layer.weights:
                if len(weight.shape) == 1:
                    weight.assign(weight + generator.uniform(-0.3, 0.3, weight.shape))
    return model


@pytest.mark.parametrize(("name", "size", "count"), [("MobileNetV2", (64, 64), 16), ("ResNet50", (33, 40), 16)])
def test_output_is_the_original_s_to_the_bit(name, size, count):
    model = backbone(name, size)
    converted = tinytl_keras.convert(model)
    assert len(branches_of(converted)) == count
    images = np.random.default_rng(0).uniform(-1, 1, (3, *size, 3)).astype("float32")
    np.testing.assert_array_equal(converted(images), model(images))
    np.testing.assert_array_equal(converted.predict(images, verbose=0), model.predict(images, verbose=0))


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_no_branch_is_added_to_probabilities(activation):
    """A decoder's last convolution is no block's end: what it makes would be no probabilities any more."""

    def convolved(x, filters):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    inputs = keras.Input((16, 16, 3))
    fine = convolved(inputs, 8)
    coarse = convolved(layers.MaxPooling2D()(fine), 16)
    features = convolved(layers.Concatenate()([layers.UpSampling2D()(coarse), fine]), 8)
    model = keras.Model(inputs, layers.Conv2D(3, 1, activation=activation)(features))
    converted = tinytl_keras.convert(model)
    assert converted.layers[-1].name == model.layers[-1].name
    apart = keras.Model(inputs, layers.Activation(activation)(layers.Conv2D(3, 1)(features)))
    assert len(branches_of(tinytl_keras.convert(apart))) == len(branches_of(converted))


def test_branches_none_true_and_false():
    for method in tinytl_keras.METHODS:
        converted = tinytl_keras.convert(residual(), method)
        assert bool(branches_of(converted)) == method.startswith("lite_residual")
    assert branches_of(tinytl_keras.convert(residual(), "bias", branches=True))
    assert not branches_of(tinytl_keras.convert(residual(), "lite_residual", branches=False))


def test_trained_by_each_method():
    branch = ["group_conv/kernel", "norm/gamma", "norm/beta", "point_conv/kernel", "last_norm/gamma", "last_norm/beta"]
    expected = {
        "last": [],
        "bias": ["norm/beta", "last_norm/beta"],
        "lite_residual": branch,
        "lite_residual+bias": branch[:-1],
        "norm+last": ["norm/gamma", "norm/beta", "last_norm/gamma", "last_norm/beta"],
        "full": branch,
    }
    for method, weights in expected.items():
        converted = tinytl_keras.convert(residual(), method, branches=True)
        paths = [weight.path for weight in converted.trainable_variables if "lite_residual" in weight.path]
        assert paths == [f"{name}_lite_residual/{weight}" for name in ("one", "two") for weight in weights]
        others = [path for path in trained_names(converted) if path.split("/")[0] not in ("group_conv", "point_conv")]
        assert ("one_depthwise/bias" in others) == (method in ("bias", "lite_residual+bias", "full"))


def test_place_and_names():
    """block(x) = (main(x) + lite(x)) + x."""
    converted = tinytl_keras.convert(residual())
    one, two = branches_of(converted).values()
    assert (one.name, two.name) == ("one_lite_residual", "two_lite_residual")
    block_input = converted.get_layer("zero_project_norm").output
    assert [tensor is block_input for tensor in one.input] == [True, False]
    assert one.input[1] is converted.get_layer("one_project_norm").output
    assert converted.get_layer("one_add").input[0] is one.output
    assert converted.get_layer("one_add").input[1] is block_input
    assert (one.strides, two.strides) == ((1, 1), (2, 2))
    assert not one.weight_standardization


def test_names_when_the_layers_share_none():
    inputs = x = keras.Input((8, 8, 4))
    for name in ("first", "second"):
        x = layers.Add()([layers.Conv2D(4, 3, padding="same", name=name)(x), x])
    converted = tinytl_keras.convert(keras.Model(inputs, x), num_classes=2)
    assert list(branches_of(converted)) == ["first_lite_residual", "second_lite_residual"]


def test_kernels_follow_the_pooled_size_in_other_nets():
    """MobileNetV2 at 96: blocks read 48, 24, 24, 12, 12, 12, 6 … 6, 3, 3, 3 rows; the first has no branch."""
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, include_top=False)
    branches = branches_of(tinytl_keras.convert(model))
    assert list(branches) == [f"block_{index}_lite_residual" for index in range(1, 17)]
    assert [layer.group_conv.kernel_size[0] for layer in branches.values()] == [5] * 6 + [3] * 7 + [1] * 3
    assert [layer.is_global for layer in branches.values()] == [False] * 13 + [True] * 3
    steps = [index for index, layer in enumerate(branches.values(), 1) if layer.group_conv.strides == (2, 2)]
    assert steps == [1, 3, 6, 13]


def test_unknown_image_sizes():
    model = keras.applications.MobileNetV2((None, None, 3), alpha=0.35, weights=None, include_top=False)
    converted = tinytl_keras.convert(model)
    kernels = {(layer.group_conv.kernel_size[0], layer.pool) for layer in branches_of(converted).values()}
    assert kernels == {(5, 2)}
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 96, 3)).astype("float32")
    np.testing.assert_array_equal(converted(images), model(images))


def test_settings_reach_the_branches():
    settings = tinytl_keras.LiteResidualConfig(3, 4, 2, 1, "batch", "relu6", False)
    branch = branches_of(tinytl_keras.convert(residual(), lite_residual=settings))["two_lite_residual"]
    assert branch.group_conv.kernel_size == (3, 3)
    assert (branch.group_conv.groups, branch.group_conv.filters, branch.pool) == (4, 16, 1)
    assert isinstance(branch.norm, tinytl_keras.layers.BatchNormalization)
    assert branch.activation is keras.activations.relu6
    np.testing.assert_array_equal(branch.last_norm.gamma, np.ones(8))


def test_concatenating_blocks_get_the_branch_on_their_output():
    inputs = keras.Input((8, 8, 4))
    joined = layers.Concatenate(name="joined")([layers.Conv2D(6, 3, padding="same", name="conv")(inputs), inputs])
    converted = tinytl_keras.convert(keras.Model(inputs, joined), num_classes=2)
    assert branches_of(converted)["joined_lite_residual"].input[1] is converted.get_layer("joined").output


def test_a_converted_model_keeps_its_branches_and_gets_no_second_ones():
    first = tinytl_keras.convert(residual())
    for weight in first.trainable_variables:
        weight.assign(weight + 0.1)
    inputs = inputs_of(first)
    for method in tinytl_keras.METHODS:
        again = tinytl_keras.convert(first, method, branches=True)
        assert list(branches_of(again)) == list(branches_of(first))
        np.testing.assert_array_equal(again(inputs), first(inputs))
        fresh = tinytl_keras.convert(residual(), method, branches=True)
        assert trained_names(again) == trained_names(fresh)
    assert list(branches_of(tinytl_keras.convert(first, "bias"))) == list(branches_of(first))


@pytest.mark.parametrize("as_tensors", [False, True])
def test_blocks_given_by_name_or_tensor(as_tensors):
    model = mobilenet()
    pairs = [("Conv1_relu", "block_1_project_BN"), ("block_3_project_BN", "block_5_project")]
    if as_tensors:
        pairs = [tuple(model.get_layer(name).output for name in pair) for pair in pairs]
    converted = tinytl_keras.convert(model, blocks=pairs)
    first, second = branches_of(converted).values()
    assert (first.name, second.name) == ("block_1_project_BN_lite_residual", "block_5_project_lite_residual")
    assert first.input[0] is converted.get_layer("Conv1_relu").output
    assert second.input[1] is converted.get_layer("block_5_project").output
    assert (first.strides, second.strides) == ((2, 2), (1, 1))
    np.testing.assert_array_equal(converted(inputs_of(model)), model(inputs_of(model)))


def test_a_block_from_the_input_layer_and_one_inside_a_model():
    inner_inputs = keras.Input((8, 8, 4), name="inside")
    inner = keras.Model(inner_inputs, layers.Conv2D(5, 3, name="inner_conv")(inner_inputs), name="inner")
    inputs = keras.Input((8, 8, 4), name="outside")
    model = keras.Model(inputs, inner(layers.Conv2D(4, 3, padding="same", name="conv")(inputs)))
    pairs = [("outside", "conv"), ("inside", "inner_conv")]
    converted = tinytl_keras.convert(model, num_classes=2, blocks=pairs)
    assert list(branches_of(converted)) == ["conv_lite_residual", "inner_conv_lite_residual"]
    with pytest.raises(ValueError, match="must be in the same model"):
        tinytl_keras.convert(model, num_classes=2, blocks=[("outside", "inner_conv")])


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("stem", "nothing"), "'nothing' of blocks=.* is not in the model"),
        (("one_add", "stem"), "must be made from its input"),
        (("stem", "stem"), "must be made from its input"),
        (("stem", "dense"), "must be maps"),
        (("stem", 3), "must be the name of a layer.*Received: 3"),
        ((keras.KerasTensor((None, 8, 8, 8)), "one_add"), "is not in the model"),
    ],
)
def test_pairs_that_are_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        tinytl_keras.convert(residual(), blocks=[pair])


def test_a_layer_that_is_called_twice_is_no_end():
    inputs = keras.Input((8, 8, 4))
    conv = layers.Conv2D(4, 3, padding="same", name="conv")
    model = keras.Model(inputs, conv(conv(inputs)))
    with pytest.raises(ValueError, match="'conv' of blocks=.* stands for 2 tensors. Name a layer that is called once"):
        tinytl_keras.convert(model, blocks=[("conv", "conv")])


def test_what_gets_no_branch_is_reported():
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, HiddenBlock(4, name="mystery")(inputs), name="mine")
    with pytest.warns(UserWarning) as records:
        tinytl_keras.convert(model, "lite_residual", num_classes=2)
    messages = [str(record.message) for record in records]
    assert "Model 'mine': no lite residual branch goes inside layer 'mystery' (HiddenBlock)" in messages[0]
    assert "has no residual or inverted residual block that can be seen" in messages[1]
    assert all("blocks=[(input, output)" in message for message in messages[:2])
    assert {record.filename for record in records[:2]} == {__file__}


def test_methods_without_branches_say_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("last", "bias", "norm+last", "full"):
            tinytl_keras.convert(cnn(), method)
        tinytl_keras.convert(cnn(), branches=False)


def test_channels_first_is_refused():
    inputs = keras.Input((4, 8, 8))
    conv = layers.Conv2D(4, 3, padding="same", data_format="channels_first")(inputs)
    with pytest.raises(ValueError, match="needs channels_last"):
        tinytl_keras.convert(keras.Model(inputs, conv + inputs), num_classes=2)


def test_shared_model_has_one_branch_for_both_calls():
    inner_inputs = x = keras.Input((8, 8, 4))
    x = layers.Conv2D(4, 3, padding="same", name="a")(x)
    x = layers.Add()([layers.Conv2D(4, 3, padding="same", name="b")(x), x])
    inner = keras.Model(inner_inputs, layers.Conv2D(4, 1, name="c")(x))
    left, right = keras.Input((8, 8, 4)), keras.Input((8, 8, 4))
    model = keras.Model([left, right], layers.Concatenate()([inner(left), inner(right)]))
    converted = tinytl_keras.convert(model)
    assert list(branches_of(converted)) == ["b_lite_residual"]
    batch = list(np.random.default_rng(0).normal(size=(2, 3, 8, 8, 4)).astype("float32"))
    np.testing.assert_array_equal(converted(batch), model(batch))
