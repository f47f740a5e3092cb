"""What each loss of an exported file means on the host: its labels, and its value and hits, which `evaluate` reports.

All is computed in float64, from float32 outputs. `tflite_export.losses` builds the same as operators.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from tflite_export.runtime import labels


@dataclasses.dataclass(frozen=True)
class Loss:
    """One loss.

    Attributes:
        labels: Checks the labels: (y, count, info, output_shape) -> an array as the graph takes it.
        of_rows: (output, logits, y, label_smoothing) -> the loss of each row, float64 [n].
        hits: (logits, y, classes) -> which rows are correct, bool [n], when only the first `classes` outputs may be
            predicted; None where no answer is right or wrong.
        spare_outputs: Whether a head may have outputs for classes to come.
    """

    labels: Callable
    of_rows: Callable
    hits: Callable | None
    spare_outputs: bool = False


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _sparse_crossentropy(output, logits, y, smoothing):
    logs = _log_softmax(logits)
    return (smoothing - 1) * logs[np.arange(len(y)), y] - smoothing * logs.mean(axis=1)


def _crossentropy(output, logits, y, smoothing):
    logs = _log_softmax(logits)
    return (smoothing - 1) * (logs * y).sum(axis=1) - smoothing * logs.mean(axis=1)


def _binary_crossentropy(output, logits, y, smoothing):
    z, target = logits.astype(np.float64), y.astype(np.float64) * (1 - smoothing) + smoothing / 2
    return (np.maximum(z, 0) - z * target + np.log1p(np.exp(-abs(z)))).mean(axis=1)


def _squared_error(output, logits, y, smoothing):
    return ((output.reshape(y.shape).astype(np.float64) - y) ** 2).mean(axis=1)


def _likeliest_is(label: Callable) -> Callable:
    return lambda logits, y, classes: logits[:, :classes].argmax(axis=1) == label(y)


def _all_on_the_right_side(logits, y, classes):
    return ((logits > 0) == (y > 0.5)).all(axis=1)


LOSSES = {
    "sparse_categorical_crossentropy": Loss(
        labels.class_indices, _sparse_crossentropy, _likeliest_is(lambda y: y), spare_outputs=True
    ),
    "categorical_crossentropy": Loss(
        labels.class_probabilities, _crossentropy, _likeliest_is(lambda y: y.argmax(axis=1)), spare_outputs=True
    ),
    "binary_crossentropy": Loss(labels.yes_or_no, _binary_crossentropy, _all_on_the_right_side),
    "mean_squared_error": Loss(labels.numbers, _squared_error, None),
}
