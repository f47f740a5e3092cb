"""One small network as files in five quantisations, for the tests of `make_trainable`."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tests.tflite_export.models import calibrated
from tests.tflite_export.runtimes import KERNELS

FORMS = ("float32", "float16", "dynamic", "int8", "int8_io")
REQUEST = np.zeros(1, np.float32)


def folded_network(classes: int = 5) -> keras.Model:
    """Inverted residual blocks as a converter leaves them: no normalisation, a bias in every convolution."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6", name="stem")(x)
    for name, stride in (("strided", 2), ("shortcut", 1)):
        y = layers.Conv2D(24, 1, activation="relu6", name=f"{name}_expand")(x)
        y = layers.DepthwiseConv2D(3, stride, padding="same", activation="relu6", name=f"{name}_depthwise")(y)
        y = layers.Conv2D(8, 1, name=f"{name}_project")(y)
        x = layers.Add(name=f"{name}_add")([x, y]) if stride == 1 else y
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="predictions")(x))
    return calibrated(model)


def images(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype(np.float32)


def converted(model: keras.Model, form: str, samples: np.ndarray) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form.startswith("int8"):
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if form == "int8_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@functools.cache
def file(form: str) -> Path:
    """The network's file in one of `FORMS`; its weights are the same in all."""
    keras.utils.set_random_seed(0)
    path = Path(tempfile.mkdtemp()) / f"{form}.tflite"
    path.write_bytes(converted(folded_network(), form, images(32)))
    return path


def run(path, kernels: str):
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def keras_name(name: str) -> str:
    """Without the number that tracing gives to a layer's scope."""
    layer, _, rest = name.partition("/")
    return f"{layer.removesuffix('_1')}/{rest}"
