"""Layers that cannot be taken apart: what a method trains inside them, and what never moves."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import inputs_of, randomized, values_of


@keras.saving.register_keras_serializable(package="tests")
class DenseNorm(layers.Layer):
    """Makes its layers in `build`, one of them with statistics."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.dense, self.norm = layers.Dense(self.units), layers.BatchNormalization()
        self.dense.build(input_shape)
        self.norm.build((*input_shape[:-1], self.units))

    def call(self, inputs, training=None):
        return self.norm(self.dense(inputs), training=training)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class Kernel(layers.Layer):
    """Has a kernel and no bias."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3), name="kernel")

    def call(self, inputs):
        return inputs @ self.kernel


@keras.saving.register_keras_serializable(package="tests")
class Scale(layers.Layer):
    """Has a gamma and is no normalization."""

    def build(self, input_shape):
        self.gamma = self.add_weight(shape=(input_shape[-1],), name="gamma")

    def call(self, inputs):
        return inputs * self.gamma


@keras.saving.register_keras_serializable(package="tests")
class Shift(layers.Layer):
    """Has a bias by another name."""

    def build(self, input_shape):
        self.b = self.add_weight(shape=(input_shape[-1],), name="b")

    def call(self, inputs):
        return inputs + self.b


def model_with(*middle):
    return randomized(keras.Sequential([keras.Input((8, 8, 3)), *middle, layers.Flatten(), layers.Dense(2)]))


def attention_model():
    inputs = keras.Input((8, 8, 3))
    tokens = layers.Reshape((64, 3))(inputs)
    mixed = layers.MultiHeadAttention(2, 3, dropout=0.5)(tokens, tokens)
    return randomized(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(mixed))))


MODELS = {
    "custom": lambda: model_with(DenseNorm(4)),
    "attention": attention_model,
    "recurrent": lambda: model_with(layers.Reshape((8, 24)), layers.LSTM(3)),
    "wrapper": lambda: model_with(layers.TimeDistributed(layers.Conv1D(2, 3))),
    "spectral": lambda: model_with(layers.SpectralNormalization(layers.Conv2D(2, 3))),
}


BIASES = {"custom": 2, "attention": 4, "recurrent": 1, "wrapper": 1, "spectral": 1}  # betas among them


@pytest.mark.parametrize("name", MODELS)
def test_bias_trains_the_biases_inside_and_nothing_else(name, tmp_path):
    model = MODELS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = tinytl_keras.convert(model, "bias")
    np.testing.assert_array_equal(converted(inputs_of(model)), model(inputs_of(model)))
    trained = [weight.name for weight in converted.trainable_variables]
    assert sorted(trained[:-2]) == sorted(n for n in trained[:-2] if n in ("bias", "beta"))
    assert (len(trained) - 2, trained[-2:]) == (BIASES[name], ["kernel", "bias"])

    converted.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(converted)
    clone.set_weights(converted.get_weights())
    for survivor in (converted, clone, keras.models.load_model(tmp_path / "model.keras")):
        for trainable in (True, False, True):
            survivor.trainable = trainable
            assert bool(survivor.trainable_variables) == trainable
        assert [weight.name for weight in survivor.trainable_variables] == trained
        np.testing.assert_array_equal(survivor(inputs_of(model)), model(inputs_of(model)))
        moves = {id(weight) for weight in survivor.trainable_variables}
        before = values_of(survivor)
        survivor.compile("sgd", "mse")
        survivor.fit(inputs_of(model), np.ones((4, 2)), verbose=0)
        for weight, old, new in zip(survivor.weights, before, values_of(survivor), strict=True):
            if not weight.path.endswith("/key/bias"):  # attention does not depend on it
                assert np.array_equal(old, new) == (id(weight) not in moves), weight.path


def test_gradients_inside_are_those_of_the_plain_layers():
    """Of the same network built from layers that convert() can take apart."""
    inner = DenseNorm(4)
    model = model_with(inner)
    plain = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Dense(4), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    )
    plain.layers[0].set_weights(inner.dense.get_weights())
    plain.layers[1].set_weights(inner.norm.get_weights())
    plain.layers[3].set_weights(model.layers[-1].get_weights())
    updates = []
    for each in (model, plain):
        converted = tinytl_keras.convert(each, "bias")
        before = [weight.numpy().copy() for weight in converted.trainable_variables]
        converted.compile("sgd", "mse")
        converted.fit(inputs_of(each), np.ones((4, 2)), batch_size=4, verbose=0)
        updates.append([w.numpy() - old for w, old in zip(converted.trainable_variables, before, strict=True)])
    for got, expected in zip(*updates, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-7)
        assert np.any(expected)


@pytest.mark.parametrize("name", MODELS)
def test_last_freezes_it_without_a_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = tinytl_keras.convert(MODELS[name](), "last")
    assert len(converted.trainable_variables) == 2


def test_full_trains_it_where_it_holds_no_statistics():
    model = attention_model()
    assert len(tinytl_keras.convert(model, "full").trainable_variables) == len(model.trainable_variables)


def test_full_trains_all_but_statistics():
    model = model_with(DenseNorm(4))
    converted = tinytl_keras.convert(model, "full")
    assert [w.name for w in converted.trainable_variables] == ["kernel", "bias", "gamma", "beta", "kernel", "bias"]
    statistics = [w.numpy().copy() for w in converted.non_trainable_variables]
    converted.compile("sgd", "mse")
    converted.fit(inputs_of(model), np.ones((4, 2)), verbose=0)
    for before, after in zip(statistics, converted.non_trainable_variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_norm_and_last_trains_only_normalizations():
    converted = tinytl_keras.convert(model_with(DenseNorm(4), Scale()), "norm+last")
    assert [w.name for w in converted.trainable_variables] == ["gamma", "beta", "kernel", "bias"]


def test_a_vector_that_is_not_called_bias_is_told_of():
    with pytest.warns(UserWarning, match=r"'.*' \(Shift\): method='bias' leaves \['.*/b'\] frozen.*name='bias'"):
        converted = tinytl_keras.convert(model_with(Shift()), "bias")
    assert len(converted.trainable_variables) == 2


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"`method` must be one of .* Received: method='all'"):
        tinytl_keras.layers.FrozenLayer(layers.Dense(2), method="all")


def test_what_has_no_bias_is_frozen_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = tinytl_keras.convert(model_with(Kernel()), "bias")
    assert len(converted.trainable_variables) == 2


def test_a_new_method_can_be_taken_for_it():
    model = attention_model()
    converted = tinytl_keras.convert(tinytl_keras.convert(model, "last"), "full")
    assert len(converted.trainable_variables) == len(model.trainable_variables)
    np.testing.assert_array_equal(converted(inputs_of(model)), model(inputs_of(model)))


def test_masks_pass_through():
    inputs = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(9, 4, mask_zero=True)(inputs)
    sequence = layers.LSTM(3, return_sequences=True)(embedded)
    model = randomized(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(sequence))))
    tokens = np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*does not support masking.*")
        converted = tinytl_keras.convert(model, "last")
        np.testing.assert_array_equal(converted(tokens), model(tokens))
