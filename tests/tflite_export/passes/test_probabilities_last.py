"""Probabilities that are reshaped on their way out are peeled off like others."""

import numpy as np
import pytest

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.canonical import canonicalise
from tflite_export.step_loss import peel_activation

X = np.random.default_rng(0).normal(size=(2, 1, 1, 6))


def graph_of(build) -> Graph:
    b, x = Builder(), Tensor("x", X.shape)
    outputs = build(b, x)
    return Graph("main", {"x": x}, outputs if isinstance(outputs, dict) else {"output": outputs}, tuple(b.ops))


@pytest.mark.parametrize(
    ("kind", "shape", "peeled"),
    [
        ("SOFTMAX", (2, 6), "softmax"),
        ("LOGISTIC", (2, 6), "sigmoid"),
        ("LOGISTIC", (2, 3, 2), "sigmoid"),
        ("SOFTMAX", (2, 3, 2), "linear"),  # its classes would be others
    ],
)
def test_a_final_reshape(kind, shape, peeled):
    graph = graph_of(lambda b, x: b.reshape(b.reshape(b.unary(kind, x), (2, 1, 6)), shape))
    new = canonicalise(graph)
    logits, activation = peel_activation(new)
    assert activation == peeled and logits.shape == shape
    expected = evaluate(graph, {"x": X})["output"]
    np.testing.assert_array_equal(evaluate(new, {"x": X})["output"], expected)


def test_probabilities_that_something_else_reads_stay():
    def build(b, x):
        y = b.unary("SOFTMAX", x)
        return {"output": b.reshape(y, (2, 6)), "other": b.unary("SQUARE", y)}

    graph = graph_of(build)
    new = canonicalise(graph)
    assert [op.kind for op in new.ops] == ["SOFTMAX", "RESHAPE", "SQUARE"]


def test_features_are_left_alone():
    new = canonicalise(graph_of(lambda b, x: b.reshape(b.unary("TANH", x), (2, 6))))
    assert [op.kind for op in new.ops] == ["TANH", "RESHAPE"]
