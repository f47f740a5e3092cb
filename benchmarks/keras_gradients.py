"""Keras's gradients of a model: as it computes them, and without rounding."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf


def gradients_of(model: keras.Model, loss_of: Callable) -> Callable:
    """A function of inputs and targets: the loss, and the gradients of the trainable variables, by GradientTape."""
    values = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False, reduce_retracing=True)
    def gradients(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=False))
        return loss, tape.gradient(loss, values)

    return gradients


def exact_gradients_of(model: keras.Model, loss_of: Callable) -> Callable:
    """As `gradients_of`, in float64: by a twin of the model, which takes over its weights whenever it is called."""
    floatx = keras.config.floatx()
    keras.config.set_floatx("float64")  # what layers inside layers take, whose dtype is in no config
    try:
        twin = keras.models.model_from_json(model.to_json().replace('"float32"', '"float64"'))
    finally:
        keras.config.set_floatx(floatx)
    gradients = gradients_of(twin, loss_of)

    def exact_gradients(x, y):
        for own, variable in zip(twin.variables, model.variables, strict=True):
            own.assign(variable.value)
        return gradients(keras.tree.map_structure(lambda a: tf.cast(a, tf.float64), x), y)

    return exact_gradients
