"""What convert() says of a layer that it has to freeze whole."""

import keras
import pytest
from keras import layers

import tinytl_keras


def warning_of(model, method="bias"):
    with pytest.warns(UserWarning, match="is frozen whole") as caught:
        tinytl_keras.convert(model, method)
    (warning,) = caught
    return warning


@pytest.mark.parametrize("recurrent", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize("nested", [False, True])
def test_the_warning_stands_at_the_callers_line_and_does_not_blame_keras_own_layers(recurrent, nested):
    middle = keras.Sequential([keras.Input((5, 3)), recurrent(4, name="memory")])
    model = keras.Sequential([keras.Input((5, 3)), *([middle] if nested else middle.layers), layers.Dense(2)])
    warning = warning_of(model)
    assert warning.filename == __file__
    message = str(warning.message)
    assert message.startswith(f"Layer 'memory' ({recurrent.__name__}) is frozen whole: method='bias' trains only a")
    assert "Keras's own" not in message
    assert "such as Dense, convolutions and normalizations" in message and "take method='full'" in message
    trained = tinytl_keras.convert(model, "full").trainable_variables
    assert len(trained) == len(model.trainable_variables)


def test_full_is_no_way_out_where_there_are_statistics():
    model = keras.Sequential(
        [keras.Input((5, 3)), layers.TimeDistributed(layers.BatchNormalization()), layers.Flatten(), layers.Dense(2)]
    )
    assert "method='full'" not in str(warning_of(model).message)
