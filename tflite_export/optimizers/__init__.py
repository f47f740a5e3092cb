"""Optimisers as operators. One optimiser a file; `resolve` finds one by name or Keras object."""

from tflite_export.optimizers.adam import Adam
from tflite_export.optimizers.resolve import resolve
from tflite_export.optimizers.sgd import SGD

__all__ = ["SGD", "Adam", "resolve"]
