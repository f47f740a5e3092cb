"""Products of pixels and matrices as convolutions, and turned round."""

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.pointwise_products import products_as_convolutions, transposed_products

RANDOM = np.random.default_rng(0)


def product(b: Builder, x: Tensor, matrix: Tensor, bias=None) -> Tensor:
    shape = (x.shape[0], matrix.shape[0])
    return b.op("FULLY_CONNECTED", (x, matrix, bias), shape, fused_activation_function="NONE")


def check(graph: Graph, changed: Graph, kinds) -> None:
    inputs = {name: RANDOM.normal(size=t.shape) for name, t in graph.inputs.items()}
    assert [op.kind for op in changed.ops] == kinds
    np.testing.assert_allclose(evaluate(changed, inputs)["y"], evaluate(graph, inputs)["y"], rtol=1e-12)


def between_reshapes(shape, end, bias=None) -> Graph:
    b, x, matrix = Builder("net"), Tensor("x", shape), Tensor("matrix", (5, shape[-1]))
    rows = b.reshape(x, (x.size // shape[-1], shape[-1]))
    y = b.reshape(product(b, rows, matrix, bias), end)
    return Graph("main", {"x": x, "matrix": matrix}, {"y": y}, tuple(b.ops))


def test_pixels_times_a_matrix_is_a_convolution():
    bias = constant(RANDOM.normal(size=5))
    for graph in (between_reshapes((2, 3, 1, 4), (2, 3, 1, 5)), between_reshapes((1, 2, 3, 4), (1, 2, 3, 5), bias)):
        check(graph, products_as_convolutions(graph), ["RESHAPE", "CONV_2D"])


def test_pixels_that_become_others_are_not():
    graph = between_reshapes((1, 2, 3, 4), (1, 3, 2, 5))
    check(graph, products_as_convolutions(graph), ["RESHAPE", "FULLY_CONNECTED", "RESHAPE"])


def test_a_transposed_product_has_its_operands_exchanged():
    b, x, matrix = Builder("net"), Tensor("x", (3, 4)), Tensor("matrix", (5, 4))
    y = b.transpose(product(b, x, matrix), (1, 0))
    graph = Graph("main", {"x": x, "matrix": matrix}, {"y": y}, tuple(b.ops))
    check(graph, transposed_products(graph), ["FULLY_CONNECTED"])
    b = Builder("net")
    y = b.transpose(product(b, x, matrix, constant(RANDOM.normal(size=5))), (1, 0))
    graph = Graph("main", {"x": x, "matrix": matrix}, {"y": y}, tuple(b.ops))
    check(graph, transposed_products(graph), ["FULLY_CONNECTED", "TRANSPOSE"])
