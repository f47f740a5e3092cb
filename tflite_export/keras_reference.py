"""Keras's side of a comparison: batches, outputs and training steps from a given state; the model stays untouched."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from tflite_export.approximated_activations import one_bit_activations
from tflite_export.runtime.info import Description


class KerasReference:
    """What Keras computes of `model`, with the loss and the optimiser of `description`.

    A state maps the names in the file to values: trainable weights by path, ``<path>/momentum``, ``<path>/m`` and
    ``<path>/v``, and ``step``. What the description does not name as trainable stays as it is in the model.
    """

    def __init__(self, model, description: Description):
        self.model, self.description = model, description
        self.names = [trainable["name"] for trainable in description.trainables]
        self.frozen = [v.numpy().copy() for v in model.non_trainable_variables]
        values = {v.path: v.numpy().copy() for v in model.trainable_variables}
        self.initial = {name: values.pop(name) for name in self.names}
        self.constants = values
        self.random = np.random.default_rng(0)

    def images(self, size: int) -> np.ndarray:
        """Random pixels as the description scales them, or noise where it does not."""
        shape = (size, *self.description.input_shape)
        scale, offset = self.description.input_scale, self.description.input_offset
        x = self.random.normal(size=shape)
        if (scale, offset) != (1.0, 0.0):
            x = self.random.uniform(0, 255, size=shape) * scale + offset
        return x.astype(np.float32)

    def labels(self, size: int, ignored: int = 0) -> np.ndarray:
        """Random labels in the loss's form, of which the last `ignored` rows do not count."""
        loss, outputs = self.description.loss, self.description.outputs
        if loss == "sparse_categorical_crossentropy":
            y = self.random.integers(0, outputs, size).astype(np.int32)
        elif loss == "categorical_crossentropy":
            y = self.random.dirichlet(np.ones(outputs), size).astype(np.float32)
        elif loss == "binary_crossentropy":
            y = self.random.integers(0, 2, (size, outputs)).astype(np.float32)
        else:
            y = self.random.normal(size=(size, outputs)).astype(np.float32)
        y[size - ignored :] = -1 if y.dtype == np.int32 else np.nan
        return y

    def with_noise(self, x: np.ndarray, relative: float) -> np.ndarray:
        """`x` with every value changed by a little of itself."""
        return (x * (1 + relative * self.random.normal(size=x.shape))).astype(np.float32)

    def infer(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(x, training=False))

    def step(self, state, x, y, valid: int, learning_rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and new state of one step from `state`, in which only the first `valid` rows count."""
        import keras
        import tensorflow as tf

        values = [tf.constant(state[name]) for name in self.names]
        with tf.GradientTape() as tape:
            tape.watch(values)
            named = {**self.constants, **dict(zip(self.names, values, strict=True))}
            weights = [named[v.path] for v in self.model.trainable_variables]
            with self._activations():
                outputs, _ = self.model.stateless_call(weights, self.frozen, x, training=False)
            loss = self._loss(y[:valid], outputs[:valid])
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        variables = [keras.Variable(value) for value in values]
        optimizer = self._optimizer(learning_rate)
        optimizer.build(variables)
        slots = self._slots(optimizer)
        for name, slot in slots.items():
            slot.assign(state[name].reshape(slot.shape))
        optimizer.apply(gradients, variables)
        new = dict(zip(self.names, variables, strict=True)) | slots
        return float(loss), {
            name: np.array(v.numpy(), np.float32).reshape(state[name].shape) for name, v in new.items()
        }

    def _activations(self):
        one_bit = self.description.activation_gradients == "one_bit"
        return one_bit_activations() if one_bit else contextlib.nullcontext()

    def _optimizer(self, learning_rate):
        import keras

        options = dict(self.description.optimizer)
        kind = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[options.pop("name")]
        options["weight_decay"] = options["weight_decay"] or None
        return kind(learning_rate, global_clipnorm=self.description.clip_norm, **options)

    def _slots(self, optimizer) -> dict:
        """Keras's optimiser variables under our names."""
        if self.description.optimizer["name"] == "adam":
            pairs = zip(self.names, optimizer._momentums, optimizer._velocities, strict=True)
            slots = {f"{name}/{key}": slot for name, *both in pairs for key, slot in zip("mv", both, strict=True)}
            return slots | {"step": optimizer.iterations}
        if self.description.optimizer["momentum"]:
            return {f"{name}/momentum": slot for name, slot in zip(self.names, optimizer.momentums, strict=True)}
        return {}

    def _loss(self, y, outputs):
        import keras

        losses, smoothing = keras.losses, self.description.label_smoothing
        from_logits = self.description.output_activation == "linear"
        if self.description.loss == "mean_squared_error":
            flat = keras.ops.reshape(outputs, (len(y), math.prod(outputs.shape[1:])))
            return losses.MeanSquaredError()(y, flat)
        if self.description.loss == "binary_crossentropy":
            return losses.BinaryCrossentropy(from_logits, label_smoothing=smoothing)(y, outputs)
        if self.description.loss == "sparse_categorical_crossentropy":
            y = keras.ops.one_hot(y, outputs.shape[1])
        return losses.CategoricalCrossentropy(from_logits, label_smoothing=smoothing)(y, outputs)
