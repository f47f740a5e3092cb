"""Which layer of a file is the classifier, and what a new one in its place reads."""

import numpy as np
import pytest

from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.from_tflite.classifier import find_classifier, with_new_head
from tflite_export.from_tflite.trainables import with_variables
from tflite_export.from_tflite.weights import layers_of
from tflite_export.graph import Graph, Tensor

_RNG = np.random.default_rng(0)
IMAGES = _RNG.normal(size=(2, 5, 4, 3))
KERNEL = _RNG.normal(size=(6, 1, 1, 3))


def graph_of(build, *shape: int) -> Graph:
    b, x = Builder(), Tensor("x", shape)
    return Graph("main", {"x": x}, {"output": build(b, x)}, ()).replace(ops=tuple(b.ops))


def with_head(graph: Graph, classes: int = 4) -> Graph:
    return with_new_head(graph, find_classifier(graph, layers_of(graph)), classes, np.random.default_rng(1))


def head_of(graph: Graph) -> np.ndarray:
    return next(variable.initial for variable in graph.variables if variable.name == "head/kernel")


def averaged_map(*ends: str, kernel: np.ndarray = KERNEL):
    def build(b, x):
        y = b.unary("RELU", b.conv_2d(b.unary("TANH", x), constant(kernel)))
        y = b.reduce("MEAN", y, (1, 2))
        for end in ends:
            y = b.unary(end, y)
        return y

    return build


@pytest.mark.parametrize("end", ["SOFTMAX", "LOGISTIC"])
def test_a_convolution_on_a_map_whose_average_becomes_probabilities(end):
    """SqueezeNet's top: the classes' scores at every pixel, averaged."""
    graph = graph_of(averaged_map(end), *IMAGES.shape)
    assert find_classifier(graph, layers_of(graph)).op.kind == "CONV_2D"
    new = with_head(graph)
    expected = np.tanh(IMAGES).mean((1, 2)) @ head_of(new)
    np.testing.assert_allclose(evaluate(new, {"x": IMAGES})["output"], expected, rtol=1e-6)


def test_features_stay():
    """The same without probabilities at its end: a network whose classifier was taken off."""
    graph = graph_of(averaged_map(), *IMAGES.shape)
    assert find_classifier(graph, layers_of(graph)) is None
    new = with_head(graph)
    expected = evaluate(graph, {"x": IMAGES})["output"] @ head_of(new)
    np.testing.assert_allclose(evaluate(new, {"x": IMAGES})["output"], expected, rtol=1e-6)


def test_a_new_head_reads_no_probabilities():
    """Where no layer is the classifier: a 3x3 convolution gives the scores."""
    kernel = _RNG.normal(size=(6, 3, 3, 3))
    graph = graph_of(averaged_map("SOFTMAX", kernel=kernel), *IMAGES.shape)
    assert find_classifier(graph, layers_of(graph)) is None
    new = with_head(graph)
    scores = evaluate(graph_of(averaged_map(kernel=kernel), *IMAGES.shape), {"x": IMAGES})["output"]
    np.testing.assert_allclose(evaluate(new, {"x": IMAGES})["output"], scores @ head_of(new), rtol=1e-6)


def test_a_map_of_probabilities_has_no_classifier():
    graph = graph_of(lambda b, x: b.unary("SOFTMAX", b.conv_2d(x, constant(KERNEL))), *IMAGES.shape)
    assert find_classifier(graph, layers_of(graph)) is None


def test_a_layer_of_the_file_that_is_called_head():
    """Two variables of one name would be one in `save`."""

    def build(b, x):
        named = [
            Tensor(f"net/{name}/MatMul", (3, 3), "float32", np.eye(3, dtype=np.float32)) for name in ("head", "out")
        ]
        y = x
        for kernel in named:
            y = b.unary("RELU", b.op("FULLY_CONNECTED", (y, kernel, constant(np.ones(3))), (2, 3)))
        return y

    new = with_head(graph_of(build, 2, 3))
    new = with_variables(new, layers_of(new), "bias", None)
    assert [variable.name for variable in new.variables] == ["head/bias", "head_1/kernel", "head_1/bias"]
