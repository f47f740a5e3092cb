"""What trains in a converted model, and that it stays so."""

import copy

import keras
import numpy as np
import pytest

import tinytl_keras
from tests.tinytl_keras.models import (
    MODELS,
    cnn,
    images,
    inputs_of,
    mobilenet,
    nested,
    outputs_of,
    residual,
    trained_names,
    values_of,
)

SOME_METHODS = ("bias", "lite_residual+bias", "norm+last")
pytestmark = pytest.mark.filterwarnings("ignore:.*no (residual or inverted|lite) residual:UserWarning")

NORMS = {
    "cnn": ["norm/gamma", "norm/beta", "group_norm/gamma", "group_norm/beta", "layer_norm/gamma", "layer_norm/beta"],
    "nested": ["norm/gamma", "norm/beta"],
    "with_operations": [],
}
CLASSIFIERS = {
    "cnn": ["dense/kernel", "dense/bias"],
    "mobilenet": ["predictions/kernel", "predictions/bias"],
    "nested": ["dense/kernel", "dense/bias"],
    "residual": ["dense/kernel", "dense/bias"],
    "shared": ["dense/kernel", "dense/bias"],
    "two_in_two_out": ["kind/kernel", "kind/bias", "size/kernel", "size/bias"],
    "with_operations": ["dense/kernel", "dense/bias"],
}
BIASES = {
    "cnn": ["conv/bias", "norm/beta", "depthwise/bias", "group_norm/beta", "separable/bias", "layer_norm/beta"],
    "nested": ["stem/bias", "conv/bias", "norm/beta"],
    "residual": [
        "stem/bias",
        "zero_depthwise/bias",
        "zero_project_norm/beta",
        "one_expand_norm/beta",
        "one_depthwise/bias",
        "one_project_norm/beta",
        "two_expand_norm/beta",
        "two_depthwise/bias",
        "two_project_norm/beta",
    ],
    "shared": ["conv/bias", "point/bias"],
    "two_in_two_out": ["conv_left/bias", "conv_right/bias"],
    "with_operations": ["conv/bias"],
}


def without_branches(model):
    return [layer for layer in model.layers if not isinstance(layer, tinytl_keras.layers.LiteResidual)]


@pytest.mark.parametrize("method", tinytl_keras.METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_keeps_outputs_names_and_weights_and_leaves_the_original_alone(name, method):
    model = MODELS[name]()
    inputs, config = inputs_of(model), model.get_config()
    expected, weights = outputs_of(model, inputs), values_of(model)

    converted = tinytl_keras.convert(model, method)

    for got, want in zip(outputs_of(converted, inputs), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert [layer.name for layer in without_branches(converted) if layer.weights] == [
        layer.name for layer in model.layers if layer.weights
    ]
    assert converted.name == model.name
    names = [weight.name for layer in without_branches(converted) for weight in layer.weights]
    assert names == [weight.name for layer in model.layers for weight in layer.weights]
    assert not {id(variable) for variable in converted.variables} & {id(variable) for variable in model.variables}

    for weight in converted.weights:
        weight.assign(weight + 1)
    for got, want in zip(values_of(model), weights, strict=True):
        np.testing.assert_array_equal(got, want)
    assert model.get_config() == config


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_last_trains_the_classifiers(name):
    assert trained_names(tinytl_keras.convert(MODELS[name](), "last")) == CLASSIFIERS[name]


@pytest.mark.parametrize("name", BIASES)
def test_bias_trains_biases_betas_and_the_classifiers(name):
    assert trained_names(tinytl_keras.convert(MODELS[name](), "bias")) == BIASES[name] + CLASSIFIERS[name]


@pytest.mark.parametrize("name", NORMS)
def test_norm_last_trains_normalizations_and_the_classifiers(name):
    assert trained_names(tinytl_keras.convert(MODELS[name](), "norm+last")) == NORMS[name] + CLASSIFIERS[name]


def test_a_scale_that_is_no_normalization_s_stays_frozen():
    model = keras.applications.ConvNeXtTiny(input_shape=(32, 32, 3), weights=None, classes=2)
    trained = trained_names(tinytl_keras.convert(model, "norm+last"))
    assert not [name for name in trained if "layer_scale" in name]
    assert len([name for name in trained if name.endswith("gamma")]) == 23


@pytest.mark.parametrize("name", MODELS)
def test_full_trains_all_but_the_stored_statistics(name):
    converted = tinytl_keras.convert(MODELS[name](), "full")
    frozen = {weight.name for weight in converted.non_trainable_variables if "seed" not in weight.name}
    assert frozen <= {"moving_mean", "moving_variance"}


def test_parameter_counts_of_mobilenet():
    """MobileNetV2's 52 batch normalizations give the biases; its classifier has 1280 inputs, 10 outputs."""
    model = mobilenet()
    channels = sum(layer.beta.shape[0] for layer in model.layers if type(layer).__name__ == "BatchNormalization")
    classifier = 1280 * 10 + 10
    expected = {"last": classifier, "bias": classifier + channels, "full": model.count_params() - 2 * channels}
    for method, count in expected.items():
        assert tinytl_keras.summary(tinytl_keras.convert(model, method)).trainable_parameters == count


@pytest.mark.parametrize(
    ("build", "method"),
    [(cnn, method) for method in tinytl_keras.METHODS]
    + [(nested, "bias"), (residual, "bias"), (residual, "lite_residual"), (residual, "lite_residual+bias")],
)
def test_fit_changes_what_trains_and_nothing_else(build, method):
    at_work = tinytl_keras.LiteResidualConfig(zero_init=False)  # a frozen gamma of 0 would stop what is before it
    converted = tinytl_keras.convert(build(), method, branches=build is residual, lite_residual=at_work)
    before = {id(weight): weight.numpy().copy() for weight in converted.weights}
    converted.compile(keras.optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    converted.layers[-1].activation = keras.activations.softmax
    size = converted.input_shape[1]
    converted.fit(images(8, size), np.arange(8) % 2, batch_size=4, epochs=2, verbose=0)
    trained = {id(weight) for weight in converted.trainable_variables}
    for weight in converted.weights:
        changed = not np.array_equal(weight.numpy(), before[id(weight)])
        assert changed == (id(weight) in trained), weight.path


def reloaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


def cloned(model, tmp_path):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


def deep_copied(model, tmp_path):
    return copy.deepcopy(model)


def toggled(model, tmp_path):
    model.trainable = False
    assert model.trainable_variables == []
    model.trainable = True
    return model


def recompiled(model, tmp_path):
    for optimizer in ("sgd", "adam"):
        model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize("method", SOME_METHODS)
@pytest.mark.parametrize("outlives", [reloaded, cloned, deep_copied, toggled, recompiled])
@pytest.mark.parametrize("name", ["nested", "residual", "two_in_two_out"])
def test_freezing_outlives(name, outlives, method, tmp_path):
    converted = tinytl_keras.convert(MODELS[name](), method, branches=name == "residual")
    inputs, names = inputs_of(converted), trained_names(converted)
    expected = outputs_of(converted, inputs)

    survivor = outlives(converted, tmp_path)
    survivor.trainable = True

    assert trained_names(survivor) == names
    for got, want in zip(outputs_of(survivor, inputs), expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_training_continues_after_reloading(tmp_path):
    converted = tinytl_keras.convert(cnn(), "bias")
    converted.compile("adam", "sparse_categorical_crossentropy")
    converted.fit(images(4), np.arange(4) % 3, verbose=0)
    again = reloaded(converted, tmp_path)
    before = {weight.path: weight.numpy().copy() for weight in again.weights}
    again.fit(images(4), np.arange(4) % 3, verbose=0)
    trained = {weight.path for weight in again.trainable_variables}
    for weight in again.weights:
        assert np.array_equal(weight.numpy(), before[weight.path]) == (weight.path not in trained), weight.path


def test_weight_files_of_the_original_fit(tmp_path):
    model = mobilenet()
    converted = tinytl_keras.convert(model, "bias")
    model.save_weights(tmp_path / "original.weights.h5")
    for weight in converted.weights:
        weight.assign(weight * 0)
    converted.load_weights(tmp_path / "original.weights.h5")
    for got, want in zip(values_of(converted), values_of(model), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("method", tinytl_keras.METHODS)
def test_stateless_call_takes_the_trainable_variables_as_inputs(method):
    """What the exporter traces: trainable variables in, the rest constant."""
    converted = tinytl_keras.convert(mobilenet(), method)
    trainable = [weight.value for weight in converted.trainable_variables]
    others = [weight.value for weight in converted.non_trainable_variables]
    inputs = inputs_of(converted, 2)
    outputs, updated = converted.stateless_call(trainable, others, inputs, training=False)
    np.testing.assert_array_equal(outputs, converted(inputs))
    for before, after in zip(others, updated, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("method", SOME_METHODS)
def test_mixed_precision_is_kept(method, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = residual()
    finally:
        keras.config.set_dtype_policy("float32")
    converted = tinytl_keras.convert(model, method, branches=True)
    inputs = inputs_of(model)
    np.testing.assert_array_equal(converted(inputs), model(inputs))
    assert converted.get_layer("stem").compute_dtype == "float16"
    assert {weight.dtype for weight in converted.trainable_variables} == {"float32"}
    converted.compile("sgd", "sparse_categorical_crossentropy")
    names = trained_names(converted)
    assert np.isfinite(converted.fit(inputs, np.arange(4) % 3, verbose=0).history["loss"]).all()
    assert trained_names(reloaded(converted, tmp_path)) == names


def test_a_new_method_can_be_taken_for_a_converted_model():
    full = tinytl_keras.convert(tinytl_keras.convert(cnn(), "last"), "full")
    assert trained_names(full) == trained_names(tinytl_keras.convert(cnn(), "full"))
    last = tinytl_keras.convert(full, "last")
    assert trained_names(last) == CLASSIFIERS["cnn"]


def test_adapted_statistics_of_preprocessing_are_copied():
    normalization = keras.layers.Normalization()
    normalization.adapt(images())
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), normalization, keras.layers.Flatten(), keras.layers.Dense(2)],
    )
    np.testing.assert_array_equal(tinytl_keras.convert(model, "last")(images()), model(images()))


def test_a_lambda_is_copied():
    factor = 3.0
    inputs = keras.Input((8, 8, 3))
    scaled = keras.layers.Lambda(lambda x: x * factor)(keras.layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(scaled)))
    np.testing.assert_array_equal(tinytl_keras.convert(model, "bias")(images()), model(images()))


def test_inputs_in_a_dict_and_arguments_of_calls_are_kept():
    inputs = {"left": keras.Input((8, 8, 3), name="left"), "right": keras.Input((8, 8, 3), name="right")}
    noisy = keras.layers.Dropout(0.9)(inputs["left"], training=False)
    joined = keras.layers.Flatten()(keras.layers.Concatenate()([noisy, inputs["right"]]))
    model = keras.Model(inputs, keras.layers.Dense(2)(joined))
    batch = {"left": images(seed=1), "right": images(seed=2)}
    for num_classes in (None, 4):
        converted = tinytl_keras.convert(model, "last", num_classes=num_classes)
        assert set(converted.input) == {"left", "right"}
        assert converted(batch).shape == (4, num_classes or 2)
    np.testing.assert_array_equal(tinytl_keras.convert(model, "last")(batch), model(batch))
