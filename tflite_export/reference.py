"""What a written file is held against: the batches, and what an independent computation makes of them."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np

from tflite_export.runtime.info import Description


class Reference(abc.ABC):
    """One side of a comparison.

    A state maps the names in the file to values: trainable weights, the optimizer's slots beside them
    (``<name>/momentum``, ``<name>/m``, ``<name>/v``) and ``step``.

    Attributes:
        name: what messages call it.
        names: the trainable weights.
        initial: their values in the file.
    """

    name: ClassVar[str]
    initial: dict[str, np.ndarray]

    def __init__(self, description: Description):
        self.description = description
        self.names = [trainable["name"] for trainable in description.trainables]
        self.random = np.random.default_rng(0)

    @abc.abstractmethod
    def infer(self, x: np.ndarray) -> np.ndarray:
        """The network's output for a batch of ``infer``."""

    @abc.abstractmethod
    def step(self, state, x, y, valid: int, learning_rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and new state of one step from `state`, in which only the first `valid` rows count."""

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
