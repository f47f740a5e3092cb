"""Losses with their gradients, as operators. One loss a file; `resolve` finds one by name or Keras object."""

from tflite_export.losses.binary_crossentropy import BinaryCrossentropy
from tflite_export.losses.categorical_crossentropy import CategoricalCrossentropy, SparseCategoricalCrossentropy
from tflite_export.losses.mean_squared_error import MeanSquaredError
from tflite_export.losses.of_outputs import OutputLoss, main_output, outputs_with_loss, resolve_outputs
from tflite_export.losses.resolve import resolve

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "MeanSquaredError",
    "OutputLoss",
    "SparseCategoricalCrossentropy",
    "main_output",
    "outputs_with_loss",
    "resolve",
    "resolve_outputs",
]
