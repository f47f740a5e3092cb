"""What the builtin form needs changed before TFLite Micro computes it."""

import numpy as np
import pytest

from tests.tflite_export.runtimes import run_litert, run_micro
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.legalise_micro import check_operators, legalise_micro

RANDOM = np.random.default_rng(0)


def same_in_both(b, inputs, output) -> list[str]:
    """Holds TFLM's result of the legal form against LiteRT's of the given one; the kinds in the legal form."""
    graph = Graph("main", {tensor.name: tensor for tensor in inputs}, {"y": output}, tuple(b.ops))
    values = {
        tensor.name: (RANDOM.normal(size=tensor.shape) * 10).astype(tensor.dtype) for tensor in graph.inputs.values()
    }
    legal = fold_constants(legalise_micro(graph))
    got, expected = run_micro(legal, values)["y"], run_litert(graph, values, "builtin")["y"]
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    return [op.kind for op in legal.ops]


def test_counts_are_summed_as_floats():
    b, x = Builder(), Tensor("x", (3, 4), "int32")
    assert same_in_both(b, [x], b.sum(x, [0])) == ["CAST", "SUM", "CAST"]


@pytest.mark.parametrize("count, kinds", [(10, 1), (11, 2), (101, 12)])
def test_more_than_ten_parts_are_concatenated_in_steps(count, kinds):
    b, x = Builder(), Tensor("x", (2, count))
    parts = [b.slice(x, (0, i), (2, 1)) for i in range(count)]
    assert same_in_both(b, [x], b.concatenate(parts[::-1], 1)).count("CONCATENATION") == kinds


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("constant_left", [False, True])
def test_matrices_are_transposed_outside_of_batch_matmul(adj_x, adj_y, constant_left):
    b, y = Builder(), Tensor("y", (2, 6, 5) if adj_y else (2, 5, 6))
    left = (5, 3) if adj_x else (3, 5)
    x = constant(RANDOM.normal(size=left)) if constant_left else Tensor("x", (2, *left))
    product = b.batch_matmul(x, y, adj_x, adj_y)
    kinds = same_in_both(b, [y] if constant_left else [x, y], product)
    dynamic = (adj_x and not constant_left) + (not adj_y)
    assert kinds == ["TRANSPOSE"] * dynamic + ["BATCH_MATMUL"]


def test_select_becomes_select_v2_where_it_means_the_same():
    b, x = Builder(), Tensor("x", (3, 4))
    positive = b.compare("GREATER", x, constant(np.zeros((1, 1))))
    y = b.op("SELECT", (positive, x, b.scale(x, -2)), x.shape)
    assert "SELECT_V2" in same_in_both(b, [x], y)


def test_an_operator_that_tflm_does_not_have_is_named_with_its_layer():
    b, x = Builder("swish_2"), Tensor("x", (3,))
    graph = Graph("main", {"x": x}, {"y": b.unary("POW", x)}, tuple(b.ops))
    with pytest.raises(ValueError, match="layer 'swish_2': TFLite Micro has no operator POW"):
        check_operators(graph)
