"""Layers that hide a block: register_block, the branch around them, and what trains inside."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import randomized, values_of
from tests.tinytl_keras.test_branches import branches_of
from tinytl_keras import _block_classes
from tinytl_keras.blocks import blocks_of


@keras.saving.register_keras_serializable(package="tests")
class Bottleneck(layers.Layer):
    """Convolution, normalization, ReLU, convolution and a shortcut, as a user writes it."""

    def __init__(self, filters, strides=1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.strides = filters, strides
        self.first = layers.Conv2D(filters, 3, strides=strides, padding="same")
        self.norm = layers.BatchNormalization()
        self.second = layers.Conv2D(filters, 3, padding="same")

    def build(self, input_shape):
        self.first.build(input_shape)
        between = (*input_shape[:-1], self.filters)
        self.norm.build(between)
        self.second.build(between)

    def call(self, inputs, training=None):
        outputs = self.second(keras.ops.relu(self.norm(self.first(inputs), training=training)))
        return outputs + inputs if outputs.shape == inputs.shape else outputs

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "strides": self.strides}


@pytest.fixture
def registered(monkeypatch):
    """Registers for one test."""
    monkeypatch.setattr(_block_classes, "_registered", set())
    assert tinytl_keras.register_block(Bottleneck) is Bottleneck


def network(size=16):
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(inputs)
    x = Bottleneck(8, name="same")(x)
    x = Bottleneck(12, strides=2, name="half")(x)
    x = layers.Dense(3, name="dense")(layers.GlobalAveragePooling2D()(x))
    return randomized(keras.Model(inputs, x, name="hiding"))


IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32")
INSIDE = ["first/bias", "norm/beta", "second/bias"]


def weights_inside(layer):
    """By the attribute that holds them, which names outlive a copy."""
    bottleneck = layer.layer if isinstance(layer, tinytl_keras.layers.FrozenLayer) else layer
    return {
        f"{part}/{weight.name}": weight
        for part in ("first", "norm", "second")
        for weight in getattr(bottleneck, part).weights
    }


def test_without_registration_the_layer_is_named_and_its_biases_train():
    with pytest.warns(UserWarning, match=r"nor inside layer 'half' \(Bottleneck\).*register_block\(Bottleneck\)"):
        converted = tinytl_keras.convert(network())
    assert branches_of(converted) == {}
    trained = {id(weight) for weight in converted.trainable_variables}
    for name in ("same", "half"):
        inside = weights_inside(converted.get_layer(name))
        assert [key for key, weight in inside.items() if id(weight) in trained] == INSIDE


@pytest.mark.usefixtures("registered")
def test_the_branch_stands_around_the_whole_layer():
    model = network()
    found, unseen = blocks_of(model)
    assert [block.strides for block in found[0].blocks] == [(1, 1), (2, 2)]
    assert unseen == []
    converted = tinytl_keras.convert(model)
    branches = branches_of(converted)
    assert list(branches) == ["same_lite_residual", "half_lite_residual"]
    assert [branch.strides for branch in branches.values()] == [(1, 1), (2, 2)]
    assert branches["half_lite_residual"].input[0] is branches["same_lite_residual"].output
    assert branches["half_lite_residual"].input[1] is converted.get_layer("half").output
    np.testing.assert_array_equal(converted(IMAGES), model(IMAGES))


@pytest.mark.usefixtures("registered")
def test_strides_of_the_layer_where_sizes_are_not_known():
    found, _ = blocks_of(network(None))
    assert [block.strides for block in found[0].blocks] == [(1, 1), (2, 2)]
    branches = branches_of(tinytl_keras.convert(network(None)))
    assert [branch.strides for branch in branches.values()] == [(1, 1), (2, 2)]


@pytest.mark.usefixtures("registered")
def test_freezing_inside_outlives_saving_cloning_and_trainable(tmp_path):
    converted = tinytl_keras.convert(network(), "lite_residual+bias")
    converted.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(converted)
    clone.set_weights(converted.get_weights())
    again = tinytl_keras.convert(converted, "lite_residual+bias")
    expected = sorted(weight.path.split("/")[-1] for weight in converted.trainable_variables)
    for survivor in (converted, clone, keras.models.load_model(tmp_path / "model.keras"), again):
        survivor.trainable = False
        survivor.trainable = True
        assert len(branches_of(survivor)) == 2
        assert sorted(weight.path.split("/")[-1] for weight in survivor.trainable_variables) == expected
        np.testing.assert_array_equal(survivor(IMAGES), converted(IMAGES))
    survivor = keras.models.load_model(tmp_path / "model.keras")
    before = values_of(survivor)
    moves = {id(weight) for weight in survivor.trainable_variables}
    survivor.compile("sgd", "mse")
    survivor.fit(IMAGES, np.ones((4, 3)), epochs=2, verbose=0)
    for weight, old, new in zip(survivor.weights, before, values_of(survivor), strict=True):
        if id(weight) not in moves:
            np.testing.assert_array_equal(old, new, err_msg=weight.path)
    for name in ("same", "half"):
        inside = weights_inside(survivor.get_layer(name))
        assert [key for key, weight in inside.items() if id(weight) in moves] == INSIDE


@pytest.mark.usefixtures("registered")
def test_subclasses_count_and_layers_of_other_classes_do_not():
    class Mine(Bottleneck):
        pass

    assert _block_classes.is_registered_block(Mine(4))
    assert not _block_classes.is_registered_block(layers.Conv2D(4, 3))
    assert not _block_classes.is_registered_block(keras.ops.relu)


@pytest.mark.parametrize("wrong", [layers.Dense(2), "Bottleneck", int, keras.ops.relu])
def test_only_classes_of_layers_are_registered(wrong):
    with pytest.raises(TypeError, match=r"takes a subclass of keras.layers.Layer.*Received: "):
        tinytl_keras.register_block(wrong)


def test_blocks_of_keras_cv_are_known():
    pytest.importorskip("keras_cv", reason='keras-cv is not installed: pip install "tinytl-keras[models]"')
    from keras_cv.layers import FusedMBConvBlock, MBConvBlock

    inputs = keras.Input((16, 16, 8))
    x = FusedMBConvBlock(8, 8, expand_ratio=2, name="fused_")(inputs)
    x = MBConvBlock(8, 12, expand_ratio=2, strides=2, se_ratio=0.25, name="unfused_")(x)
    model = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    converted = tinytl_keras.convert(model)
    assert list(branches_of(converted)) == ["fused__lite_residual", "unfused__lite_residual"]
    trained = {"/".join(weight.path.split("/")[-2:]) for weight in converted.trainable_variables}
    assert {"fused_expand_bn/beta", "unfused_se_reduce/bias", "unfused_project_bn/beta"} <= trained
    assert not {name for name in trained if name.endswith("kernel") and "_conv" in name} - {
        f"{part}_conv/kernel" for part in ("group", "point")
    }


def test_keras_cv_is_not_imported():
    code = "import sys, tinytl_keras; print(*(name for name in sys.modules if name.startswith('keras_cv')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
