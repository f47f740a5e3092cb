"""What convert() says of a layer of which it trains a part, and where."""

import warnings

import keras
import pytest
from keras import layers

import tinytl_keras
from tests.tinytl_keras.layers.test_frozen_layer import Shift


@pytest.mark.parametrize("nested", [False, True])
def test_the_warning_stands_at_the_callers_line(nested):
    middle = keras.Sequential([keras.Input((5, 3)), Shift(name="shift")])
    model = keras.Sequential([keras.Input((5, 3)), *([middle] if nested else middle.layers), layers.Dense(2)])
    with pytest.warns(UserWarning, match="leaves .* frozen") as caught:
        tinytl_keras.convert(model, "bias")
    (warning,) = caught
    assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(tinytl_keras.convert(model, "full").trainable_variables) == len(model.trainable_variables)
        tinytl_keras.convert(model, "last")


@pytest.mark.parametrize("recurrent", [layers.LSTM, layers.GRU])
def test_recurrent_biases_train_without_a_word(recurrent):
    model = keras.Sequential([keras.Input((5, 3)), recurrent(4, name="memory"), layers.Dense(2)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        converted = tinytl_keras.convert(model, "bias")
    assert [weight.name for weight in converted.trainable_variables] == ["bias", "kernel", "bias"]


def test_statistics_inside_a_wrapper_never_move():
    normalization = layers.TimeDistributed(layers.BatchNormalization())
    model = keras.Sequential([keras.Input((5, 3)), normalization, layers.Flatten(), layers.Dense(2)])
    converted = tinytl_keras.convert(model, "full")
    assert [weight.name for weight in converted.trainable_variables] == ["gamma", "beta", "kernel", "bias"]
