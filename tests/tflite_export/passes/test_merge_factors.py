"""Constant factors and reductions in fewer operators, with the same values."""

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.merge_factors import merge_factors


def check(build, kinds) -> None:
    b, x, s = Builder("net"), Tensor("x", (2, 5, 3, 4)), Tensor("s", (2, 1, 3, 1))
    graph = Graph("main", {"x": x, "s": s}, {"y": build(b, x, s)}, tuple(b.ops))
    merged, rng = merge_factors(graph), np.random.default_rng(0)
    inputs = {name: rng.normal(size=t.shape) for name, t in graph.inputs.items()}
    assert [op.kind for op in merged.ops] == kinds
    np.testing.assert_allclose(evaluate(merged, inputs)["y"], evaluate(graph, inputs)["y"], rtol=1e-6, atol=1e-12)


def test_numbers_are_multiplied_at_compile_time():
    check(lambda b, x, s: b.scale(b.scale(b.scale(x, 2), 0.25), -3), ["MUL"])


def test_the_smaller_operand_is_multiplied():
    check(lambda b, x, s: b.scale(b.mul(b.scale(s, 2), x), 3), ["MUL", "MUL"])


def test_a_sum_keeps_its_axes():
    check(lambda b, x, s: b.reshape(b.sum(x, (1, 3)), (2, 1, 3, 1)), ["SUM"])
    check(lambda b, x, s: b.reshape(b.sum(x, (1, 3)), (1, 2, 3, 1)), ["SUM", "RESHAPE"])


def test_a_mean_that_is_subtracted():
    check(lambda b, x, s: b.add(x, b.scale(b.reshape(b.sum(x, (1, 3)), s.shape), -1 / 20)), ["MEAN", "SUB"])
    check(lambda b, x, s: b.add(b.scale(b.reshape(b.sum(x, (1, 3)), s.shape), 1 / 20), x), ["MEAN", "ADD"])
    check(lambda b, x, s: b.add(x, b.scale(b.sum(x, (1, 3), keep_dims=True), -1 / 19)), ["SUM", "MUL", "ADD"])


def test_a_product_that_others_read_stays():
    def build(b, x, s):
        y = b.scale(x, 2)
        return b.add(b.scale(y, 3), y)

    check(build, ["MUL", "MUL", "ADD"])


def test_an_activation_stays():
    def build(b, x, s):
        y = b.op("MUL", (x, constant(2)), x.shape, fused_activation_function="RELU")
        return b.scale(y, 3)

    check(build, ["MUL", "MUL"])
