"""The canonical form computes what the graph before it did."""

import numpy as np
import pytest

from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
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


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("trained", [False, True])
def test_a_group_for_each_channel_is_a_depthwise_convolution(trained, multiplier):
    kernel = np.random.default_rng(1).normal(size=(3 * multiplier, 3, 2, 1)).astype(np.float32)
    b, x = Builder(), Tensor("x", (2, 5, 4, 3))
    attributes = {"stride_h": 2, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "SAME"}
    weights = b.read(Variable("kernel", kernel)) if trained else constant(kernel)
    shape = (2, 3, 4, 3 * multiplier)
    y = b.op("CONV_2D", (x, weights, None), shape, fused_activation_function="NONE", **attributes)
    graph = Graph("main", {"x": x}, {"output": y}, tuple(b.ops))
    canonical = canonicalise(graph)
    assert [op.kind for op in canonical.ops if "CONV" in op.kind] == ["DEPTHWISE_CONV_2D"]
    given = {"x": np.random.default_rng(2).normal(size=x.shape)}
    expected = evaluate(graph, given)["output"]
    np.testing.assert_allclose(evaluate(canonical, given)["output"], expected, rtol=1e-12, atol=1e-14)
