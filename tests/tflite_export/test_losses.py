"""Every loss in every runtime against Keras: value, gradient at the prediction, rows that do not count."""

import keras
import numpy as np
import pytest

from tests.tflite_export.runtimes import run_litert
from tflite_export import losses
from tflite_export.builder import Builder
from tflite_export.compilation import compile_signature
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor

RANDOM = np.random.default_rng(11)
OUTPUTS = 4


def graph_of(loss, batch) -> Graph:
    b = Builder("loss")
    prediction = Tensor("prediction", (batch, OUTPUTS))
    tensors = loss.build(b, prediction, ())
    outputs = {"loss": tensors.loss, "correct": tensors.correct, "count": tensors.rows.count}
    for name, mean in (("gradient", True), ("summed_gradient", False)):
        outputs[name] = tensors.gradient(b, prediction.shape, mean)
    return Graph("loss", {"prediction": prediction, "y": tensors.labels}, outputs, tuple(b.ops))


def everywhere(graph, inputs):
    yield evaluate(graph, inputs)
    for form in ("builtin", "xnnpack"):
        compiled = compile_signature(graph, form)
        yield run_litert(compiled, inputs, "builtin")
        yield run_litert(compiled, inputs, "xnnpack")


def labels_of(name, rows):
    if name == "sparse_categorical_crossentropy":
        return RANDOM.integers(0, OUTPUTS, rows).astype(np.int32)
    if name == "categorical_crossentropy":
        return RANDOM.dirichlet(np.ones(OUTPUTS), rows).astype(np.float32)
    if name == "binary_crossentropy":
        return RANDOM.integers(0, 2, (rows, OUTPUTS)).astype(np.float32)
    return RANDOM.normal(size=(rows, OUTPUTS)).astype(np.float32)


def keras_loss(name, smoothing):
    if name == "mean_squared_error":
        return keras.losses.MeanSquaredError()
    if name == "binary_crossentropy":
        return keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)


def number_correct(name, prediction, y):
    if name == "mean_squared_error":
        return 0
    if name == "binary_crossentropy":
        return int(np.all((prediction > 0) == (y > 0.5), axis=1).sum())
    return int(np.sum(prediction.argmax(1) == (y if y.ndim == 1 else y.argmax(1))))


CASES = [
    (name, smoothing)
    for name in (
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "mean_squared_error",
    )
    for smoothing in (0.0, 0.1, 0.7)
    if not (name == "mean_squared_error" and smoothing)
]


@pytest.mark.parametrize(("name", "smoothing"), CASES)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("scale", [0.1, 3.0, 200.0])
def test_value_and_gradient(name, smoothing, batch, scale):
    """Two further rows do not count; logits of 200 would overflow a careless exponential."""
    import tensorflow as tf

    prediction = (RANDOM.normal(size=(batch + 2, OUTPUTS)) * scale).astype(np.float32)
    y = labels_of(name, batch + 2)
    if y.dtype == np.int32:
        y[batch:] = [-1, OUTPUTS]
    else:
        y[batch:, 1] = np.nan
    valid = tf.constant(prediction[:batch])
    with tf.GradientTape() as tape:
        tape.watch(valid)
        target = keras.ops.one_hot(y[:batch], OUTPUTS) if y.dtype == np.int32 else y[:batch]
        expected = keras_loss(name, smoothing)(target, valid)
    gradient = np.zeros_like(prediction)
    gradient[:batch] = tape.gradient(expected, valid)
    loss = losses.resolve(name, smoothing, "linear", OUTPUTS)
    for got in everywhere(graph_of(loss, batch + 2), {"prediction": prediction, "y": y}):
        np.testing.assert_allclose(got["loss"], [float(expected)], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["gradient"], gradient, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["summed_gradient"], gradient * batch, rtol=1e-5, atol=1e-6)
        assert got["correct"] == number_correct(name, prediction[:batch], y[:batch])
        assert got["count"] == batch


@pytest.mark.parametrize(("name", "smoothing"), [case for case in CASES if case[1] in (0, 0.1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
def test_no_gradient_of_a_prediction_that_is_not_finite(name, smoothing, bad):
    """3.4e38 is what LiteRT's builtin kernels make of an infinity; the evaluator has no such limit."""
    prediction = RANDOM.normal(size=(3, OUTPUTS)).astype(np.float32)
    prediction[1, 2] = bad
    loss = losses.resolve(name, smoothing, "linear", OUTPUTS)
    got_by_evaluator, *got_by_runtimes = everywhere(
        graph_of(loss, 3), {"prediction": prediction, "y": labels_of(name, 3)}
    )
    for got in got_by_runtimes if np.isfinite(bad) else [got_by_evaluator, *got_by_runtimes]:
        for name in ("gradient", "summed_gradient"):
            np.testing.assert_array_equal(got[name], np.zeros((3, OUTPUTS)))
        assert not np.isfinite(got["loss"]), "a refused step must show in the loss"


@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_crossentropy", "mean_squared_error"])
def test_no_row_that_counts(name):
    prediction, y = RANDOM.normal(size=(2, OUTPUTS)).astype(np.float32), labels_of(name, 2)
    y[:] = -1 if y.dtype == np.int32 else np.nan
    for got in everywhere(graph_of(losses.resolve(name, 0, "linear", OUTPUTS), 2), {"prediction": prediction, "y": y}):
        for name in ("gradient", "summed_gradient"):
            np.testing.assert_array_equal(got[name], np.zeros((2, OUTPUTS)))
        assert got["loss"] == 0 and got["correct"] == 0 and got["count"] == 0
