"""Losses, with their gradient at the logits.

The final softmax of a model is peeled off: its gradient together with cross-entropy is ``softmax - target``. The loss
is the mean over valid rows; a row whose label is outside [0, classes) counts for nothing.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor


@dataclasses.dataclass(frozen=True)
class LossTensors:
    """What a loss adds to the graph."""

    labels: Tensor  # the input y
    loss: Tensor  # float32 [1]
    correct: Tensor  # int32 [1], rows whose largest logit is the label
    gradient: Tensor  # of the loss by the logits; all zeros where the logits are not finite or no row is valid


@dataclasses.dataclass(frozen=True)
class SparseCategoricalCrossentropy:
    """``-log softmax(logits)[y]``; y is int32 [batch]. With smoothing e the target is ``y (1 - e) + e / classes``."""

    label_smoothing: float = 0.0
    name = "sparse_categorical_crossentropy"

    def build(self, b: Builder, logits: Tensor) -> LossTensors:
        """Adds the loss of `logits` [batch, classes] to `b`."""
        batch, classes = logits.shape
        labels = Tensor("y", (batch,), "int32")

        column = b.reshape(labels, (batch, 1))
        one_hot = b.cast(b.compare("EQUAL", column, constant(np.arange(classes)[None], "int32")), "float32")
        valid = b.sum(one_hot, [1], keep_dims=True)
        count = b.reshape(b.sum(valid, [0, 1]), (1,))
        weight = b.div(valid, b.maximum(count, constant(1)))  # 1 / valid rows, or 0 for a row that is ignored
        target = one_hot
        if self.label_smoothing:
            smooth = b.scale(valid, self.label_smoothing / classes)
            target = b.add(b.scale(one_hot, 1 - self.label_smoothing), smooth)

        shifted = b.sub(logits, b.reduce("REDUCE_MAX", logits, [1], keep_dims=True))
        exponential = b.unary("EXP", shifted)
        total = b.sum(exponential, [1], keep_dims=True)
        log_probability = b.sub(shifted, b.unary("LOG", total))
        probability = b.div(exponential, total)
        difference = b.op("ZERO_UNLESS_FINITE", (b.sub(probability, target), logits), logits.shape)
        gradient = b.mul(difference, weight)
        loss = b.sum(b.mul(b.mul(target, log_probability), weight), [0, 1])
        loss = b.sub(b.zero_or_nan(logits), b.reshape(loss, (1,)))  # the builtin kernels clamp an infinite loss

        best = b.op("ARG_MAX", (logits, constant(1, "int32")), (batch,), "int32", output_type=2)
        hits = b.cast(b.compare("EQUAL", best, labels), "int32")
        correct = b.reshape(b.sum(hits, [0]), (1,))
        return LossTensors(labels, loss, correct, gradient)


def resolve(loss, label_smoothing: float) -> SparseCategoricalCrossentropy:
    """The loss that a name or a Keras loss object stands for."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    name = loss if isinstance(loss, str) else getattr(loss, "name", type(loss).__name__)
    if name != SparseCategoricalCrossentropy.name:
        raise ValueError(
            f"loss {name!r} is not supported yet; use 'sparse_categorical_crossentropy' with integer labels"
        )
    return SparseCategoricalCrossentropy(label_smoothing)
