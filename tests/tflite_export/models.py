"""Small Keras models with weights that make their gradients well behaved."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers


def calibrated(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random biases and scales, and BatchNormalization statistics measured on random input, as in a trained model."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.path.endswith(("beta", "/bias")):
            weight.assign(random.normal(size=weight.shape) * 0.2)
        elif weight.path.endswith("gamma"):
            weight.assign(random.uniform(0.35, 1.05, size=weight.shape))
    norms = [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(random.normal(size=(16, *model.inputs[0].shape[1:])).astype("float32"), training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    return model


def residual_network(size: int = 17, classes: int = 5) -> keras.Model:
    """A stem, two inverted residual blocks (one strided, one with a shortcut) and a softmax head."""
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization(name="stem_norm")(x))
    for name, stride in (("strided", 2), ("shortcut", 1)):
        y = layers.Conv2D(18, 1, use_bias=False, name=f"{name}_expand")(x)
        y = layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_expand_norm")(y))
        y = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(y)
        y = layers.ReLU(6.0)(layers.BatchNormalization(name=f"{name}_depthwise_norm")(y))
        y = layers.Conv2D(6, 1, use_bias=False, name=f"{name}_project")(y)
        y = layers.BatchNormalization(name=f"{name}_project_norm")(y)
        x = layers.Add(name=f"{name}_add")([x, y]) if stride == 1 else y
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(classes, activation="softmax", name="predictions")(x)
    return calibrated(keras.Model(inputs, outputs, name="residual_network"))


def plain_cnn() -> keras.Model:
    """Convolutions, both poolings, a separable convolution and two dense layers, at an odd size."""
    return calibrated(
        keras.Sequential(
            [
                keras.Input((19, 21, 1)),
                layers.Conv2D(6, 3, activation="relu", name="first"),
                layers.MaxPooling2D(),
                layers.Conv2D(8, 5, strides=2, padding="same", activation="relu", name="second"),
                layers.MaxPooling2D(3, 1, padding="same"),
                layers.SeparableConv2D(10, 3, activation="relu6", name="third"),
                layers.AveragePooling2D(2),
                layers.Flatten(),
                layers.Dropout(0.3),
                layers.Dense(16, activation="tanh", name="hidden"),
                layers.Dense(5, name="logits"),
            ],
            name="plain_cnn",
        )
    )
