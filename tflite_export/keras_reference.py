"""Keras's side of a comparison: outputs and training steps from a given state; the model stays untouched."""

from __future__ import annotations

import contextlib
import math

import numpy as np

from tflite_export.approximated_activations import one_bit_activations
from tflite_export.int8_weights import values_of
from tflite_export.lowering import as_the_model_takes, output_names
from tflite_export.reference import Reference
from tflite_export.runtime.info import Description

_TABLE_SIZES = ("input_dim", "num_tokens")  # of Embedding and of CategoryEncoding


class KerasReference(Reference):
    """What Keras computes of `model`, with the loss and the optimiser of `description`.

    Trainable weights go by their path. What the description does not name as trainable stays as it is in the model, but
    for frozen kernels of a file that stores them as int8: those are rounded (`int8_weights`).
    """

    name = "Keras"

    def __init__(self, model, description: Description, frozen: str = "float32"):
        super().__init__(description)
        self.model = model
        self.frozen = values_of(model, model.non_trainable_variables, self.names, frozen)
        weights = model.trainable_variables
        values = dict(zip((v.path for v in weights), values_of(model, weights, self.names, frozen), strict=True))
        self.initial = {name: values.pop(name) for name in self.names}
        self.constants = values

    def _integers_below(self, dtype: str) -> int:
        """What every table of the model that an integer may look something up in has a row for."""
        sizes = (getattr(layer, name, None) for layer in self.model._flatten_layers() for name in _TABLE_SIZES)
        return min([super()._integers_below(dtype), *(size for size in sizes if isinstance(size, int))])

    def infer(self, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output by its name in the file."""
        named = {**self.initial, **self.constants}
        weights = [named[v.path] for v in self.model.trainable_variables]
        inputs = as_the_model_takes(self.model, [*x.values()])
        outputs = self._flat(self.model.stateless_call(weights, self.frozen, inputs, training=False)[0])
        return {name: np.asarray(value) for name, value in outputs.items()}

    def _flat(self, outputs) -> dict:
        import keras

        return dict(zip(output_names(self.model), keras.tree.flatten(outputs), strict=True))

    def step(self, state, x, y, valid: int, learning_rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and new state of one step from `state`, in which only the first `valid` rows count."""
        import keras
        import tensorflow as tf

        values = [tf.constant(state[name]) for name in self.names]
        with tf.GradientTape() as tape:
            tape.watch(values)
            named = {**self.constants, **dict(zip(self.names, values, strict=True))}
            weights = [named[v.path] for v in self.model.trainable_variables]
            inputs = as_the_model_takes(self.model, [*x.values()])
            with self._activations():
                outputs, _ = self.model.stateless_call(weights, self.frozen, inputs, training=False)
            outputs = self._flat(outputs)
            loss = self._penalties(named)
            for head in self.trained:
                part = self._loss(head, y[head["labels"]][:valid], _first(outputs[head["name"]], valid))
                loss = loss + head["loss_weight"] * part
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        # Of an embedding's table TensorFlow gives slices, and Keras squares those of one row apart (Adam, clipping)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
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

    def _penalties(self, named: dict):
        """Of Keras's own regularizers, on the weights that train."""
        weights = {weight.path: weight for weight in self.model.trainable_variables}
        regularizers = ((named[name], weights[name].regularizer) for name in self.names)
        return sum(regularizer(value) for value, regularizer in regularizers if regularizer is not None)

    def _loss(self, head: dict, y, outputs):
        import keras

        losses, smoothing = keras.losses, head["label_smoothing"]
        from_logits = head["output_activation"] == "linear"
        if head["loss"] == "mean_squared_error":
            flat = keras.ops.reshape(outputs, (len(y), math.prod(outputs.shape[1:])))
            return losses.MeanSquaredError()(y, flat)
        if head["loss"] == "binary_crossentropy":
            return losses.BinaryCrossentropy(from_logits, label_smoothing=smoothing)(y, outputs)
        if head["loss"] == "sparse_categorical_crossentropy":
            y = keras.ops.one_hot(y, outputs.shape[-1])
        return losses.CategoricalCrossentropy(from_logits, label_smoothing=smoothing)(y, outputs)


def _first(outputs, count: int):
    """The first rows, with the logits that Keras keeps beside probabilities and takes its loss from."""
    first = outputs[:count]
    if hasattr(outputs, "_keras_logits"):
        first._keras_logits = outputs._keras_logits[:count]
    return first
