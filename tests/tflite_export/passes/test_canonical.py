"""The canonical form computes what the graph before it did."""

import numpy as np
import pytest

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.canonical import canonicalise
from tflite_export.step_loss import peel_activation

X = np.random.default_rng(0).normal(size=(3, 5))


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_the_factor_of_a_softmax_goes_into_its_logits(beta):
    b, x = Builder(), Tensor("x", X.shape)
    y = b.op("SOFTMAX", (x,), X.shape, beta=beta)
    graph = canonicalise(Graph("main", {"x": x}, {"output": y}, tuple(b.ops)))
    logits, activation = peel_activation(graph)
    assert activation == "softmax"
    values = evaluate(graph.replace(outputs={**graph.outputs, "logits": logits}), {"x": X})
    np.testing.assert_allclose(values["logits"], beta * X, rtol=1e-6)
    exponential = np.exp(beta * X)
    np.testing.assert_allclose(values["output"], exponential / exponential.sum(1, keepdims=True), rtol=1e-6)
