"""What every loss gives to the training step, and the rows that count."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows that count: the samples of a batch, or every place of every sample where the output has more axes."""

    valid: Tensor  # float32 [rows, 1], 1 or 0
    count: Tensor  # float32 [1]
    weight: Tensor  # float32 [rows, 1], 1 / count, or 0 for a row that is ignored


@dataclasses.dataclass(frozen=True)
class LossTensors:
    """What a loss adds to the graph."""

    labels: Tensor  # the input y
    loss: Tensor  # float32 [1], the mean over the rows that count; NaN where input or prediction is not finite
    correct: Tensor  # int32 [1]
    row_gradients: Tensor  # [rows, n], of each row's own loss by its prediction; zeros where the loss is NaN
    rows: Rows  # `row_gradients` of the others mean nothing
    poison: Tensor  # float32 [1]: 0, or NaN where input or prediction is not finite

    def gradient(self, b: Builder, shape: tuple[int, ...], mean: bool = True) -> Tensor:
        """Of the loss by the prediction of this shape: of the mean over the rows that count, or of their sum."""
        weight = self.rows.weight if mean else self.rows.valid
        return b.reshape(b.mul(self.row_gradients, weight), shape)


def rows_that_count(b: Builder, valid: Tensor) -> Rows:
    """From 1 or 0 per row, float32 [rows, 1]."""
    count = b.reshape(b.sum(valid, [0, 1]), (1,))
    return Rows(valid, count, b.div(valid, b.maximum(count, constant(1))))


def in_rows(b: Builder, logits: Tensor) -> Tensor:
    """[rows, n]: the last axis of every place of every sample as a row; [batch, n] stays as it is."""
    return b.reshape(logits, (math.prod(logits.shape[:-1]), logits.shape[-1]))


def dense_labels(
    b: Builder, shape: tuple[int, ...], label_shape: tuple[int, ...] | None = None
) -> tuple[Tensor, Tensor, Rows]:
    """(the input y, y with zeros for NaN, the rows without a NaN) of float32 labels.

    Args:
        b: receives the operators.
        shape: [rows, n], of the second.
        label_shape: of the first; the same if None.
    """
    labels = Tensor("y", shape if label_shape is None else label_shape)
    given = b.reshape(labels, shape)
    numbers = b.compare("EQUAL", given, given)
    clean = b.select(numbers, given, constant(np.zeros(shape)))
    found = b.sum(b.cast(numbers, "float32"), [1], keep_dims=True)
    valid = b.cast(b.compare("EQUAL", found, constant(shape[1])), "float32")
    return labels, clean, rows_that_count(b, valid)


def guarded(b: Builder, difference: Tensor, finite: Sequence[Tensor], bounded: bool) -> Tensor:
    """`difference`, or zeros unless all of `finite` is. `bounded`: it lies in [-1, 1]."""
    return b.op("ZERO_UNLESS_FINITE", (difference, *finite), difference.shape, bounded=bounded)


def mean_over_rows(b: Builder, summed: Tensor, rows: Rows, poison: Tensor) -> Tensor:
    """float32 [1]: the sums of the rows of `summed` [rows, n], in the mean over those that count, and `poison`."""
    mean = b.reshape(b.sum(b.mul(summed, rows.weight), [0, 1]), (1,))
    return b.add(mean, poison)  # the builtin kernels clamp an infinite loss
