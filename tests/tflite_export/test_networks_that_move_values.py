"""Networks for sound, video and dense maps, from Keras to a verified file: what they move differentiates and trains."""

import keras
import pytest
import tensorflow as tf
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import calibrated

FRAMES = 4


@keras.saving.register_keras_serializable("tests")
class TemporalShift(layers.Layer):
    """A quarter of the channels one frame earlier, a quarter one frame later; frames stand in the batch."""

    def call(self, x):
        _, height, width, channels = x.shape
        fold = channels // 4
        x = tf.reshape(x, (-1, FRAMES, height, width, channels))
        still = tf.zeros_like(x[:, :1, :, :, :fold])
        earlier = tf.concat([x[:, 1:, :, :, :fold], still], 1)
        later = tf.concat([still, x[:, :-1, :, :, fold : 2 * fold]], 1)
        return tf.reshape(tf.concat([earlier, later, x[..., 2 * fold :]], -1), (-1, height, width, channels))


@keras.saving.register_keras_serializable("tests")
class Frames(layers.Layer):
    """Video [batch, frames, …] to images [batch * frames, …], or back to the mean over the frames."""

    def __init__(self, mean=False, **options):
        super().__init__(**options)
        self.mean = mean

    def call(self, x):
        if self.mean:
            return tf.reduce_mean(tf.reshape(x, (-1, FRAMES, *x.shape[1:])), 1)
        return tf.reshape(x, (-1, *x.shape[2:]))

    def get_config(self):
        return {**super().get_config(), "mean": self.mean}


@keras.saving.register_keras_serializable("tests")
class MirroredBorder(layers.Layer):
    """Channels backwards, and a reflected border."""

    def call(self, x):
        return tf.pad(x[..., ::-1], [(0, 0), (1, 1), (2, 1), (0, 0)], "REFLECT")


@keras.saving.register_keras_serializable("tests")
class PixelShuffle(layers.Layer):
    def call(self, x):
        return tf.nn.depth_to_space(x, 2)


def normalized(layer):
    return [layer, layers.BatchNormalization(), layers.ReLU()]


def stacked(shape, *parts):
    flat = [layer for part in parts for layer in (part if isinstance(part, list) else [part])]
    return calibrated(keras.Sequential([keras.Input(shape), *flat, layers.Dense(4)]))


def keywords_of_a_spectrogram():
    return stacked(
        (49, 10, 1),
        normalized(layers.Conv2D(8, (10, 4), strides=(2, 1), padding="same")),
        normalized(layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2)),
        normalized(layers.Conv2D(8, 1)),
        layers.AveragePooling2D((25, 5)),
        layers.Flatten(),
    )


def keywords_of_a_sequence():
    return stacked(
        (31, 6),
        normalized(layers.Conv1D(8, 5, strides=2, padding="same")),
        layers.MaxPooling1D(3, 2, padding="same"),
        normalized(layers.SeparableConv1D(8, 3, padding="same")),
        layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same", activation="relu"),
        layers.AveragePooling1D(2),
        layers.UpSampling1D(2),
        layers.ZeroPadding1D((1, 0)),
        layers.Cropping1D((0, 2)),
        layers.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu"),
        layers.GlobalAveragePooling1D(),
    )


def temporal_shift():
    inputs = keras.Input((FRAMES, 16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(Frames()(inputs))
    for _ in range(2):
        y = layers.Conv2D(8, 3, padding="same")(TemporalShift()(x))
        x = layers.Add()([x, layers.ReLU()(layers.BatchNormalization()(y))])
    x = Frames(mean=True)(layers.GlobalAveragePooling2D()(x))
    return calibrated(keras.Model(inputs, layers.Dense(4)(x)))


def down_and_up():
    return stacked(
        (12, 10, 3),
        layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
        MirroredBorder(),
        layers.Conv2D(8, 3, strides=2, activation="relu"),
        layers.UpSampling2D((2, 3)),
        layers.Conv2D(8, 3, padding="same", activation="relu"),
        PixelShuffle(),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.Cropping2D(((1, 2), (0, 3))),
        layers.Conv2D(2, 3, strides=2),
        layers.Flatten(),
    )


def transposed_and_dilated():
    return stacked(
        (9, 8, 3),
        normalized(layers.Conv2D(6, 3, dilation_rate=2, padding="same")),
        layers.DepthwiseConv2D(3, dilation_rate=2, padding="same"),
        normalized(layers.Conv2DTranspose(5, 3, strides=2, padding="same")),
        layers.Conv2DTranspose(4, (2, 3), strides=(1, 2), activation="relu"),
        layers.Conv2D(4, 3, strides=2),
        layers.Flatten(),
    )


def unrolled():
    return stacked(
        (3, 5),
        layers.Permute((2, 1)),
        layers.LSTM(4, unroll=True),
        layers.RepeatVector(2),
        layers.Flatten(),
    )


CASES = [
    (keywords_of_a_spectrogram, "full", "xnnpack"),
    (keywords_of_a_spectrogram, "bias", "micro"),
    (keywords_of_a_sequence, "full", "xnnpack"),
    (keywords_of_a_sequence, "full", "micro"),
    (temporal_shift, "bias", "xnnpack"),
    (temporal_shift, "full", "micro"),
    (down_and_up, "full", "builtin"),
    (down_and_up, "full", "micro"),
    (transposed_and_dilated, "full", "xnnpack"),
    (transposed_and_dilated, "full", "builtin"),
    (unrolled, "full", "xnnpack"),
]


@pytest.mark.parametrize(("network", "method", "form"), CASES)
def test_it_trains_as_keras_does(network, method, form, tmp_path):
    """`export` compares every update with Keras's, in LiteRT with both kernel sets; the margin here is tighter."""
    options = {"kernels": form}
    if form == "micro":
        pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
        options = {"runtime": "micro", "infer_batch_size": 2}
    model = tinytl_keras.convert(network(), method)
    report = tflite_export.export(model, tmp_path / "model.tflite", batch_size=2, **options)
    assert report.max_difference < 2e-4
    assert len(report.trainable_names) == len(model.trainable_variables)
