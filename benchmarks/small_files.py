"""Real .tflite files of a few kilobytes, of every kind that we read or write."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

import tflite_export
import tinytl_keras
from tflite_export.lowering import stock_inference_file

_SHAPE = (6, 6, 3)


def network() -> keras.Model:
    """Convolutions, a shortcut, pooling and a softmax, on 6 pixels."""
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input(_SHAPE)
    x = layers.ReLU(6.0)(layers.Conv2D(4, 3, 2, "same", name="stem")(x))
    y = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Add()([x, layers.Conv2D(4, 1, name="project")(y)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(3, "softmax", name="predictions")(x))


def small_files() -> dict[str, bytes]:
    """Contents by what they are."""
    model = network()
    return {
        "float32": stock_inference_file(model),
        **{name: _converted(model, setting) for name, setting in _SETTINGS.items()},
        **dict(_trainable(model)),
    }


def _int8(converter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    random = np.random.default_rng(0)
    samples = [[random.normal(size=(1, *_SHAPE)).astype(np.float32)] for _ in range(4)]
    converter.representative_dataset = lambda: samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8


def _float16(converter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


_SETTINGS: dict[str, Callable] = {"any batch": lambda converter: None, "int8": _int8, "float16": _float16}


def _converted(model: keras.Model, setting: Callable) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    setting(converter)
    return converter.convert()


def _trainable(model: keras.Model) -> Iterator[tuple[str, bytes]]:
    ours = tinytl_keras.convert(model, "bias")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trainable.tflite"
        for name, options in {
            "trainable": {"batch_size": 2},
            "trainable, builtin kernels": {"kernels": "builtin", "optimizer": "adam"},
            "trainable, micro": {"runtime": "micro"},
        }.items():
            tflite_export.export(ours, path, verify=False, **options)
            yield name, path.read_bytes()
