"""What a written file is held against: the batches, and what an independent computation makes of them."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np

from tflite_export.runtime.info import Description, heads_of, inputs_of


class Reference(abc.ABC):
    """One side of a comparison. Inputs, labels and outputs are arrays by their names in the file.

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
        self.inputs, heads = inputs_of(vars(description)), heads_of(vars(description))
        self.trained = [head for head in heads if head["loss"] is not None]
        self.random = np.random.default_rng(0)

    @abc.abstractmethod
    def infer(self, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every output for a batch of ``infer``."""

    @abc.abstractmethod
    def step(self, state, x, y, valid: int, learning_rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and new state of one step from `state`, in which only the first `valid` rows count."""

    def images(self, size: int) -> dict[str, np.ndarray]:
        """For every input random pixels as the description scales them, or noise where it does not, or integers."""
        return {spec["name"]: self._input(spec, (size, *spec["shape"])) for spec in self.inputs}

    def _input(self, spec: dict, shape: tuple[int, ...]) -> np.ndarray:
        if spec["dtype"] != "float32":
            return self.random.integers(0, self._integers_below(spec["dtype"]), shape).astype(spec["dtype"])
        scale, offset = spec["scale"], spec["offset"]
        x = self.random.normal(size=shape)
        if (scale, offset) != (1.0, 0.0):
            x = self.random.uniform(0, 255, size=shape) * scale + offset
        return x.astype(np.float32)

    def _integers_below(self, dtype: str) -> int:
        return min(np.iinfo(dtype).max + 1, 256)

    def labels(self, size: int, ignored: int = 0) -> dict[str, np.ndarray]:
        """Random labels in the form of each loss, of which the last `ignored` rows do not count."""
        return {head["labels"]: self._labels(head, size, ignored) for head in self.trained}

    def _labels(self, head: dict, size: int, ignored: int) -> np.ndarray:
        loss, classes = head["loss"], head["classes"]
        places = tuple(head.get("shape", (classes,))[:-1])
        if loss == "sparse_categorical_crossentropy":
            y = self.random.integers(0, classes, (size, *places)).astype(np.int32)
        elif loss == "categorical_crossentropy":
            y = self.random.dirichlet(np.ones(classes), (size, *places)).astype(np.float32)
        elif loss == "binary_crossentropy":
            y = self.random.integers(0, 2, (size, *places, classes)).astype(np.float32)
        else:
            y = self.random.normal(size=(size, head["outputs"])).astype(np.float32)
        y[size - ignored :] = -1 if y.dtype == np.int32 else np.nan
        return y

    def with_noise(self, x: dict[str, np.ndarray], relative: float) -> dict[str, np.ndarray]:
        """`x` with every number that is no integer changed by a little of itself."""
        return {
            name: (value * (1 + relative * self.random.normal(size=value.shape))).astype(np.float32)
            if value.dtype == np.float32
            else value
            for name, value in x.items()
        }
