"""What the report names as inert: layers that do something in training alone."""

import keras
import pytest
from keras import layers
from keras.src.applications.convnext import StochasticDepth

from tflite_export.inert_layers import inert_layers


def test_dropped_branches():
    keras_cv = pytest.importorskip("keras_cv", reason='keras-cv is not installed: pip install "tinytl-keras[models]"')

    class Own(keras_cv.layers.DropPath):
        pass

    x = keras.Input((8, 8, 4))
    y = keras_cv.layers.DropPath(0.2, name="path")(x)
    y = keras_cv.layers.DropPath(0.0, name="never")(y)
    y = keras_cv.layers.DropBlock2D(0.1, block_size=3, name="block")(y)
    y = keras_cv.layers.DropBlock2D(0.0, block_size=3, name="no_block")(y)
    y = StochasticDepth(0.3, name="depth")(y)
    y = Own(0.2, name="own")(layers.ReLU()(y))
    model = keras.Model(x, keras_cv.layers.StochasticDepth(0.2, name="sum")([x, y]))
    assert inert_layers(model) == (
        "path (DropPath)", "block (DropBlock2D)", "depth (StochasticDepth)", "own (Own)", "sum (StochasticDepth)"
    )  # fmt: skip


def test_dropout_and_noise():
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dropout(0.5, name="half"), layers.Dropout(0, name="none"), layers.GaussianNoise(0.1)]
    )
    assert inert_layers(model)[0] == "half (Dropout)" and len(inert_layers(model)) == 2
