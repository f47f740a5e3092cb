"""Small Keras networks for generated programs, and what Keras makes of the same steps."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

import tinytl_keras

keras.config.disable_interactive_logging()


def inverted_residuals(height=15, width=13, classes=5) -> keras.Model:
    """Odd sizes, a strided block, a residual one, ReLU6."""
    x = inputs = keras.Input((height, width, 3))
    x = _conv(8, 3, 2, "relu6", "stem")(x)
    y = _conv(18, 1, 1, "relu6", "a_expand")(x)
    y = _depthwise(3, 2, "relu6", "a_depthwise")(y)
    x = _conv(8, 1, 1, None, "a_project")(y)
    y = _conv(16, 1, 1, "relu6", "b_expand")(x)
    y = _depthwise(5, 1, "relu6", "b_depthwise")(y)
    y = _conv(8, 1, 1, None, "b_project")(y)
    x = keras.layers.Add(name="b_add")([x, y])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="head")(x), name="inverted")


def pools_and_relu(size=12, classes=3) -> keras.Model:
    """Both pools, ReLU behind a sum, one input channel, a softmax at the end."""
    x = inputs = keras.Input((size, size, 1))
    x = _conv(6, 3, 1, "relu", "first")(x)
    x = keras.layers.MaxPooling2D(2, name="largest")(x)
    y = _conv(6, 3, 1, None, "second")(x)
    x = keras.layers.ReLU(name="sum_relu")(keras.layers.Add(name="sum")([x, y]))
    x = keras.layers.AveragePooling2D(2, name="average")(x)
    x = keras.layers.Flatten(name="flat")(x)
    x = keras.layers.Dense(7, activation="relu", name="hidden")(x)
    x = keras.layers.Dense(classes, activation="softmax", name="head")(x)
    return keras.Model(inputs, x, name="pools")


def normalised(size=16, classes=4, use_bias=False) -> keras.Model:
    """BatchNormalization with statistics, folded by the converter; behind a bias that trains it cannot be."""
    x = inputs = keras.Input((size, size, 3))
    for i, filters in enumerate((6, 10)):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=use_bias, name=f"conv_{i}")(x)
        x = keras.layers.BatchNormalization(name=f"norm_{i}")(x)
        x = keras.layers.ReLU(6.0, name=f"relu_{i}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="head")(x), name="normalised")


def _conv(filters, size, stride, activation, name):
    return keras.layers.Conv2D(filters, size, strides=stride, padding="same", activation=activation, name=name)


def _depthwise(size, stride, activation, name):
    return keras.layers.DepthwiseConv2D(size, strides=stride, padding="same", activation=activation, name=name)


def prepared(model: keras.Model, method: str, seed: int = 0) -> keras.Model:
    """`model` by `method`, its kernels such that int8 holds them exactly, everything else a little off its start."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            steps = random.integers(-127, 128, weights[0].shape)
            weights[0] = (steps * 2.0**-8).astype(np.float32)
            weights[0] *= 4 / np.sqrt(np.prod(weights[0].shape[:-1]))
            weights[0] = (steps * np.float32(2.0 ** np.floor(np.log2(np.abs(weights[0]).max() / 127)))).astype(
                np.float32
            )
        if isinstance(layer, keras.layers.BatchNormalization):
            weights[3] = random.uniform(0.5, 1.5, weights[3].shape)
        weights = [w + 0.1 * random.normal(size=w.shape) if w.ndim == 1 and i < 3 else w for i, w in enumerate(weights)]
        layer.set_weights(weights)
    model = tinytl_keras.convert(model, method)
    for variable in model.trainable_variables:
        if "lite_residual" in variable.path:
            variable.assign_add(0.05 * random.normal(size=variable.shape))
    return model


def pictures(model: keras.Model, count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *model.input_shape[1:])).astype(np.float32)


def keras_steps(model: keras.Model, optimizer, loss, x, y) -> list[float]:
    """The losses of one GradientTape step for every row; `model` is changed."""
    losses = []
    for row, label in zip(x, y, strict=True):
        with tf.GradientTape() as tape:
            value = loss(np.asarray(label)[None], model(row[None], training=False))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(value))
    return losses
