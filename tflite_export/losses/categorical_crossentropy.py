"""Cross-entropy over classes. The softmax is part of the loss: its gradient at the logits is probability - target."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor
from tflite_export.losses.base import (
    LossTensors,
    Rows,
    dense_labels,
    guarded,
    in_rows,
    mean_over_rows,
    rows_that_count,
)


@dataclasses.dataclass(frozen=True)
class SparseCategoricalCrossentropy:
    """``-log softmax(logits)[y]``; y is int32 [batch], and a row outside [0, classes) counts for nothing.

    Of logits with further axes, [batch, …, classes], every place is a row, and y is int32 [batch, …].

    With smoothing e the target is ``one_hot(y) (1 - e) + e / classes``.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "sparse_categorical_crossentropy"
    final_activations: ClassVar[tuple[str, ...]] = ("softmax", "linear")
    of_logits: ClassVar[bool] = True

    def build(self, b: Builder, logits: Tensor, inputs: Sequence[Tensor]) -> LossTensors:
        """Adds the loss of `logits` [batch, …, classes] to `b`; the model's `inputs` must be finite too."""
        labels = Tensor("y", logits.shape[:-1], "int32")
        logits = in_rows(b, logits)
        batch, classes = logits.shape
        column = b.reshape(labels, (batch, 1))
        one_hot = b.cast(b.compare("EQUAL", column, constant(np.arange(classes)[None], "int32")), "float32")
        rows = rows_that_count(b, b.sum(one_hot, [1], keep_dims=True))
        return _crossentropy(
            b, logits, labels, b.reshape(labels, (batch,)), one_hot, rows, self.label_smoothing, inputs
        )


@dataclasses.dataclass(frozen=True)
class CategoricalCrossentropy:
    """``-sum(y log softmax(logits))``; y is float32 [batch, classes], and a row with a NaN counts for nothing.

    Of logits with further axes, [batch, …, classes], every place is a row.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "categorical_crossentropy"
    final_activations: ClassVar[tuple[str, ...]] = ("softmax", "linear")
    of_logits: ClassVar[bool] = True

    def build(self, b: Builder, logits: Tensor, inputs: Sequence[Tensor]) -> LossTensors:
        """Adds the loss of `logits` [batch, …, classes] to `b`; the model's `inputs` must be finite too."""
        label_shape, logits = logits.shape, in_rows(b, logits)
        labels, clean, rows = dense_labels(b, logits.shape, label_shape)
        likeliest = _largest(b, clean)
        # a row that does not count matches no class
        invalid = b.cast(b.scale(b.sub(constant(1), b.reshape(rows.valid, (logits.shape[0],))), -1), "int32")
        likeliest = b.add(b.mul(likeliest, b.add(invalid, constant(1, "int32"))), invalid)
        return _crossentropy(b, logits, labels, likeliest, clean, rows, self.label_smoothing, inputs)


def _crossentropy(
    b: Builder,
    logits: Tensor,
    labels: Tensor,
    likeliest: Tensor,
    target: Tensor,
    rows: Rows,
    smoothing: float,
    inputs: Sequence[Tensor],
) -> LossTensors:
    """`target` [rows, classes] sums to 1 in the rows that count, `likeliest` int32 [rows] is its class."""
    if smoothing:
        uniform = b.scale(rows.valid, smoothing / logits.shape[1])
        target = b.add(b.scale(target, 1 - smoothing), uniform)
    shifted = b.sub(logits, b.reduce("REDUCE_MAX", logits, [1], keep_dims=True))
    exponential = b.unary("EXP", shifted)
    total = b.sum(exponential, [1], keep_dims=True)
    negative_log_probability = b.sub(b.unary("LOG", total), shifted)
    poison = b.zero_or_nan((logits, *inputs))
    loss = mean_over_rows(b, b.mul(target, negative_log_probability), rows, poison)
    difference = guarded(b, b.sub(b.div(exponential, total), target), (logits, *inputs), bounded=True)

    hits = b.cast(b.compare("EQUAL", _largest(b, logits), likeliest), "int32")
    correct = b.reshape(b.sum(hits, [0]), (1,))
    return LossTensors(labels, loss, correct, difference, rows, poison)


def _largest(b: Builder, x: Tensor) -> Tensor:
    """int32 [rows]: the column of each row's largest value."""
    return b.op("ARG_MAX", (x, constant(1, "int32")), x.shape[:1], "int32", output_type=2)
