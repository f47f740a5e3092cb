"""Layers that cannot be taken apart are frozen whole, and say so."""

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


@pytest.mark.parametrize("name", MODELS)
def test_bias_freezes_it_whole_and_warns(name, tmp_path):
    model = MODELS[name]()
    with pytest.warns(UserWarning, match=r"Layer '.*' \(.*\) is frozen whole: method='bias' trains only a part.*bias"):
        converted = tinytl_keras.convert(model, "bias")
    np.testing.assert_array_equal(converted(inputs_of(model)), model(inputs_of(model)))
    assert [weight.name for weight in converted.trainable_variables] == ["kernel", "bias"]

    converted.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(converted)
    clone.set_weights(converted.get_weights())
    for survivor in (converted, clone, keras.models.load_model(tmp_path / "model.keras")):
        for trainable in (True, False, True):
            survivor.trainable = trainable
        assert [weight.name for weight in survivor.trainable_variables] == ["kernel", "bias"]
        np.testing.assert_array_equal(survivor(inputs_of(model)), model(inputs_of(model)))
        frozen = values_of(survivor)[:-2]
        survivor.compile("sgd", "mse")
        survivor.fit(inputs_of(model), np.ones((4, 2)), verbose=0)
        for before, after in zip(frozen, values_of(survivor)[:-2], strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("name", MODELS)
def test_last_freezes_it_without_a_word(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = tinytl_keras.convert(MODELS[name](), "last")
    assert len(converted.trainable_variables) == 2


def test_full_trains_it_where_it_holds_no_statistics():
    model = attention_model()
    assert len(tinytl_keras.convert(model, "full").trainable_variables) == len(model.trainable_variables)


def test_full_freezes_what_would_move_its_statistics():
    with pytest.warns(UserWarning, match="'.*' .DenseNorm. is frozen whole"):
        converted = tinytl_keras.convert(model_with(DenseNorm(4)), "full")
    assert len(converted.trainable_variables) == 2


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
