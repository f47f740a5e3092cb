"""The lite residual layer by hand. What it computes is held against numpy and the official code in the parity tests."""

import copy

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import images, outputs_of, randomized, trained_names
from tinytl_keras.layers import LiteResidual
from tinytl_keras.layers.lite_residual import BRANCH_WEIGHTS

MAINS = {
    "layer": lambda: layers.Conv2D(4, 3, strides=2, padding="same", name="main"),
    "sequential": lambda: keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization()], name="main"),
    "functional": lambda: functional_main(),
    "frozen": lambda: tinytl_keras.layers.FrozenLayer(layers.Conv2D(4, 3, name="main")),
}


def functional_main():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.ReLU()(layers.Conv2D(4, 3, name="conv")(inputs)), name="main")


def model_with(layer):
    inputs = keras.Input((8, 8, 3))
    features = layers.GlobalAveragePooling2D()(layer(inputs))
    return keras.Model(inputs, layers.Dense(2, name="dense")(features))


@pytest.mark.parametrize("name", MAINS)
def test_is_its_main_layer_until_it_is_trained(name):
    main = MAINS[name]()
    layer = LiteResidual(main)
    np.testing.assert_array_equal(layer(images()), main(images()))
    layer.last_norm.gamma.assign(layer.last_norm.gamma + 1)
    assert np.abs(np.asarray(layer(images())) - np.asarray(main(images()))).max() > 0.1
    assert layer.compute_output_shape((None, 8, 8, 3)) == (None, *main(images()).shape[1:])


@pytest.mark.parametrize("name", MAINS)
def test_survives_saving_cloning_and_copying(name, tmp_path):
    model = model_with(
        LiteResidual(MAINS[name](), frozen=["last_norm/beta"], zero_init=False, kernel_size=3, name="lite")
    )
    trained = len(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for survivor in (keras.models.load_model(tmp_path / "model.keras"), clone, copy.deepcopy(model)):
        survivor.trainable = False
        assert survivor.trainable_variables == []
        survivor.trainable = True
        assert len(survivor.trainable_variables) == trained
        assert [weight.name for weight in survivor.get_layer("lite").last_norm.trainable_weights] == ["gamma"]
        np.testing.assert_array_equal(survivor(images()), model(images()))


@pytest.mark.parametrize("name", MAINS)
@pytest.mark.parametrize("method", tinytl_keras.METHODS)
def test_convert_takes_it_as_a_branch(name, method):
    model = randomized(model_with(LiteResidual(MAINS[name](), name="lite")))
    converted = tinytl_keras.convert(model, method)
    np.testing.assert_array_equal(converted(images()), model(images()))
    branch = converted.get_layer("lite")
    trained = {f"{layer.name}/{weight.name}" for layer in branch.branch_layers for weight in layer.trainable_weights}
    everything = set(BRANCH_WEIGHTS)
    assert (
        trained
        == {
            "last": set(),
            "bias": {"norm/beta", "last_norm/beta"},
            "lite_residual": everything,
            "lite_residual+bias": everything - {"last_norm/beta"},
            "norm+last": {weight for weight in everything if "norm" in weight},
            "full": everything,
        }[method]
    )
    assert len([layer for layer in converted.layers if isinstance(layer, LiteResidual)]) == 1
    main_kernels = [name for name in trained_names(converted) if name.endswith("kernel") and "dense" not in name]
    assert len(main_kernels) - len([weight for weight in trained if "kernel" in weight]) == (method == "full")


def test_beside_a_tensor():
    inputs, main = keras.Input((8, 8, 3)), keras.Input((4, 4, 6))
    layer = LiteResidual(zero_init=False)
    outputs = layer(inputs, main)
    assert outputs.shape == (None, 4, 4, 6)
    assert layer.group_conv.strides == (2, 2)
    zeros = np.zeros((4, 4, 4, 6), "float32")
    assert np.abs(keras.Model([inputs, main], outputs)([images(), zeros])).max() > 0.1


def test_shapes_of_the_branch():
    """8x8x12 -> pooled 4x4 -> 5x5 convolution of 2 groups, 12 -> 24 -> 7 channels."""
    layer = LiteResidual(layers.Conv2D(7, 1), expand=2, activation="swish")
    layer.build((None, 8, 8, 12))
    shapes = {f"{part.name}/{weight.name}": weight.shape for part in layer.branch_layers for weight in part.weights}
    assert shapes == {
        "group_conv/kernel": (5, 5, 6, 24),
        "norm/gamma": (24,),
        "norm/beta": (24,),
        "point_conv/kernel": (1, 1, 24, 7),
        "last_norm/gamma": (7,),
        "last_norm/beta": (7,),
    }
    assert tuple(shapes) == BRANCH_WEIGHTS
    assert (layer.norm.groups, layer.last_norm.groups) == (3, 1)


@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (6, 2), (1, 1)])
def test_groups_divide_the_channels(channels, groups):
    layer = LiteResidual()
    layer.build((None, 8, 8, channels), (None, 8, 8, 4))
    assert layer.group_conv.groups == groups
    assert layer.group_conv.filters == 8


@pytest.mark.parametrize("size", [(1, 1), (1, 6)])
def test_a_map_that_pooling_would_empty_is_averaged_whole(size):
    layer = LiteResidual(zero_init=False)
    maps = np.random.default_rng(0).normal(size=(2, *size, 8)).astype("float32")
    outputs = layer(maps, np.zeros_like(maps))
    assert layer.group_conv.kernel_size == (1, 1)
    np.testing.assert_array_equal(outputs[:, :1, :1] + np.zeros_like(maps), outputs)


def test_batch_norm_keeps_its_statistics():
    model = randomized(model_with(LiteResidual(layers.Conv2D(4, 3), norm="batch", zero_init=False, name="lite")))
    statistics = [weight.numpy().copy() for weight in model.get_layer("lite").norm.non_trainable_weights]
    model.compile("sgd", "mse")
    model.fit(images(), np.ones((4, 2)), verbose=0)
    for before, after in zip(statistics, model.get_layer("lite").norm.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_unknown_sizes(size):
    inputs = keras.Input((None, None, 4))
    main = layers.Conv2D(6, 3, strides=2, padding="same")(inputs)
    layer = LiteResidual(strides=2, zero_init=False)
    model = keras.Model(inputs, layer(inputs, main))
    batch = np.random.default_rng(0).normal(size=(2, *size, 4)).astype("float32")
    assert model(batch).shape == model.predict(batch, verbose=0).shape == (2, (size[0] + 1) // 2, (size[1] + 1) // 2, 6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: LiteResidual(main="conv"), "`main` must be a keras.layers.Layer"),
        (lambda x: LiteResidual(kernel_size=2), "`kernel_size` of a lite residual branch must be an odd"),
        (lambda x: LiteResidual(pool=0), "`pool` of a lite residual branch must be an integer of 1 or more"),
        (lambda x: LiteResidual(frozen=["gamma"]), "`frozen` must be a list of names among .*'norm/gamma'"),
        (lambda x: LiteResidual(frozen="norm/gamma"), "`frozen` must be a list"),
        (lambda x: LiteResidual()(x), "stands beside nothing. Give it a `main` layer, or call it with two"),
        (lambda x: LiteResidual(layers.ReLU())(x, x), "has a `main` layer, so it is called with one tensor"),
        (lambda x: LiteResidual(layers.Flatten())(x), "needs maps .*Received: input of shape"),
        (lambda x: LiteResidual(layers.ReLU())(keras.Input((None, 8, 3))), "cannot tell its strides.*Pass `strides`"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(keras.Input((8, 8, 3)))


def test_inside_a_model_inside_the_model():
    inner = model_with(LiteResidual(layers.Conv2D(4, 3), name="lite"))
    inputs = keras.Input((8, 8, 3))
    model = randomized(keras.Model(inputs, layers.Dense(2)(inner(inputs))))
    converted = tinytl_keras.convert(model, "lite_residual")
    for got, want in zip(outputs_of(converted, images()), outputs_of(model, images()), strict=True):
        np.testing.assert_array_equal(got, want)
    assert len(converted.trainable_variables) == 6 + 2
