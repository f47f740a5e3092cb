"""Each loss's numbers against Keras's."""

import keras
import numpy as np
import pytest

from tflite_export.runtime.losses import LOSSES

CLASSES, ROWS = 5, 7
INFO = {"classes": CLASSES, "class_names": None}
RANDOM = np.random.default_rng(0)
LOGITS = (RANDOM.normal(size=(ROWS, CLASSES)) * 4).astype(np.float32)
INDICES = RANDOM.integers(0, CLASSES, ROWS)
SOFT = RANDOM.dirichlet(np.ones(CLASSES), ROWS)
CASES = {
    "sparse_categorical_crossentropy": INDICES,
    "categorical_crossentropy": SOFT,
    "binary_crossentropy": RANDOM.integers(0, 2, (ROWS, CLASSES)),
    "mean_squared_error": RANDOM.normal(size=(ROWS, CLASSES)),
}


def of_keras(name, y, smoothing):
    if name == "mean_squared_error":
        return keras.losses.MeanSquaredError(reduction=None)(y, LOGITS)
    if name == "binary_crossentropy":
        return keras.losses.BinaryCrossentropy(True, smoothing, reduction=None)(y, LOGITS)
    if name == "sparse_categorical_crossentropy":
        y = np.eye(CLASSES)[y]
    return keras.losses.CategoricalCrossentropy(True, smoothing, reduction=None)(y, LOGITS)


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_of_each_row_is_keras(name, smoothing):
    loss = LOSSES[name]
    y = loss.labels(CASES[name], ROWS, INFO, (CLASSES,))
    rows = loss.of_rows(LOGITS, LOGITS, y, smoothing)
    assert rows.dtype == np.float64
    np.testing.assert_allclose(rows, of_keras(name, CASES[name], smoothing), rtol=2e-6)
    assert loss.of_rows(LOGITS[:0], LOGITS[:0], y[:0], smoothing).shape == (0,)


def test_large_logits_do_not_overflow():
    logits, y = np.array([[1e4, -1e4]], np.float32), np.array([[0, 1]], np.float32)
    assert LOSSES["categorical_crossentropy"].of_rows(logits, logits, y, 0.0) == [2e4]
    assert LOSSES["binary_crossentropy"].of_rows(logits, logits, y, 0.0) == [1e4]


def test_hits():
    logits = np.array([[3, 2, 1], [1, 2, 3]], np.float32)
    sparse, dense = LOSSES["sparse_categorical_crossentropy"], LOSSES["categorical_crossentropy"]
    assert sparse.hits(logits, np.array([0, 1]), 3).tolist() == [True, False]
    assert sparse.hits(logits, np.array([0, 1]), 2).tolist() == [True, True]  # the third is not predicted
    assert dense.hits(logits, np.array([[0.6, 0.4, 0], [0.6, 0.4, 0]]), 3).tolist() == [True, False]
    binary = LOSSES["binary_crossentropy"]
    y = np.array([[1, 0], [1, 0], [1, 1]], np.float32)
    assert binary.hits(np.array([[1, -1], [1, 1], [2, 3]]), y, 2).tolist() == [True, False, True]
    assert LOSSES["mean_squared_error"].hits is None
