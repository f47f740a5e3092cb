"""Chains of moves become shorter, and mean the same."""

import numpy as np
import pytest

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.merge_moves import merge_moves


def chain(shape, *moves, read: int | None = None) -> Graph:
    """`moves` one after the other: tuples that are permutations, or lists that are shapes; `read` is an output too."""
    b, x = Builder("chain"), Tensor("x", shape)
    y, between = b.unary("ABS", x), {}
    for number, move in enumerate(moves):
        y = b.transpose(y, move) if isinstance(move, tuple) else b.reshape(y, move)
        between |= {"between": b.unary("NEG", y)} if number == read else {}
    return Graph("main", {"x": x}, {"y": b.unary("NEG", y), **between}, tuple(b.ops))


@pytest.mark.parametrize(
    "shape, moves, left",
    [
        ((2, 3, 4), [(1, 0, 2), (1, 0, 2)], 0),
        ((2, 3, 4), [[6, 4], [2, 12], [2, 3, 4]], 0),
        ((2, 3, 4), [(1, 0, 2), (2, 1, 0)], 1),
        ((1, 1, 5, 6), [(3, 0, 1, 2), [6, 5], (1, 0)], 1),
        ((1, 3, 1, 4), [(2, 1, 0, 3), [3, 4]], 1),
        ((5, 6), [[5, 1, 1, 6], (1, 2, 3, 0)], 2),
        ((6, 4), [[2, 3, 4], (1, 0, 2), [6, 4]], 3),
        ((2, 3, 4, 5), [(3, 0, 1, 2), [5, 24], (1, 0), [2, 3, 4, 5]], 0),
    ],
)
def test_a_chain_in_fewer_operators(shape, moves, left):
    graph = chain(shape, *moves)
    merged, x = merge_moves(graph), {"x": np.random.default_rng(0).normal(size=shape)}
    assert sum(op.kind in ("RESHAPE", "TRANSPOSE") for op in merged.ops) == left
    np.testing.assert_array_equal(evaluate(merged, x)["y"], evaluate(graph, x)["y"])


def test_a_permutation_comes_before_the_shape():
    kinds = [op.kind for op in merge_moves(chain((5, 6), [5, 1, 1, 6], (1, 2, 3, 0))).ops]
    assert kinds == ["ABS", "TRANSPOSE", "RESHAPE", "NEG"]


@pytest.mark.parametrize("moves, left", [([(1, 0, 2), (1, 0, 2)], 1), ([(1, 0, 2), [12, 2], (1, 0)], 3)])
def test_what_is_read_in_the_middle_stays(moves, left):
    graph = chain((2, 3, 4), *moves, read=0)
    merged, x = merge_moves(graph), {"x": np.random.default_rng(0).normal(size=(2, 3, 4))}
    assert sum(op.kind in ("RESHAPE", "TRANSPOSE") for op in merged.ops) == left
    for name, expected in evaluate(graph, x).items():
        np.testing.assert_array_equal(evaluate(merged, x)[name], expected)
