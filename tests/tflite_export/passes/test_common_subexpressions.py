"""What is written twice is computed once, and nothing else is."""

import numpy as np
import pytest

from tests.tflite_export.block_networks import NETWORKS, Network, batch_of, step_of
from tests.tflite_export.training_updates import assert_same_updates
from tflite_export.builder import Builder, constant, integers
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Op, Quantization, Tensor, Variable
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.common_subexpressions import merge_common_subexpressions


def kinds(b: Builder, inputs, *outputs) -> list[str]:
    """Of the operators that are left; the outputs stay."""
    named = {f"y{i}": tensor for i, tensor in enumerate(outputs)}
    graph = Graph("g", {tensor.name: tensor for tensor in inputs}, named, tuple(b.ops))
    merged = merge_common_subexpressions(graph)
    values = {t.name: np.random.default_rng(0).normal(size=t.shape) * 3 for t in inputs}
    expected, got = evaluate(graph, values), evaluate(merged, values)
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
    return [op.kind for op in merged.ops]


@pytest.fixture
def x():
    return Tensor("x", (2, 6))


def test_chains_merge_from_their_beginning(x):
    b = Builder()
    ends = [b.unary("TANH", b.mul(b.sub(x, constant(1)), constant(2))) for _ in range(3)]
    assert kinds(b, [x], b.add(b.add(ends[0], ends[1]), ends[2]), ends[1]) == ["SUB", "MUL", "TANH", "ADD", "ADD"]


def test_what_an_activation_of_none_and_its_absence_say_is_the_same(x):
    b = Builder()
    first = b.op("ADD", (x, x), x.shape, fused_activation_function="NONE", pot_scale_int16=True)
    assert kinds(b, [x], first, b.add(x, x)) == ["ADD"]


DIFFERENT = {
    "operands": lambda b, x: (b.sub(x, constant(1)), b.sub(constant(1), x)),
    "constants": lambda b, x: (b.add(x, constant(1)), b.add(x, constant(2))),
    "shapes of constants": lambda b, x: (b.add(x, constant(np.ones((1, 6)))), b.add(x, constant(np.ones((2, 1))))),
    "kinds": lambda b, x: (b.unary("TANH", x), b.unary("LOGISTIC", x)),
    "attributes": lambda b, x: (b.op("ADD", (x, x), x.shape, fused_activation_function="RELU"), b.add(x, x)),
    "shapes": lambda b, x: (b.broadcast(x, (3, 2, 6)), b.broadcast(x, (4, 2, 6))),
    "types": lambda b, x: (b.cast(x, "int32"), b.cast(x, "bool")),
    "quantization": lambda b, x: (b.dequantize(b.quantize(x, 0.5, 0)), b.dequantize(b.quantize(x, 0.25, 3))),
    "large constants": lambda b, x: (b.matmul(x, constant(np.ones((6, 6)))), b.matmul(x, constant(np.ones((6, 6))))),
}


@pytest.mark.parametrize("difference", DIFFERENT)
def test_operators_that_differ_stay(x, difference):
    b = Builder()
    outputs = DIFFERENT[difference](b, x)
    assert len(kinds(b, [x], *outputs)) == len(b.ops)


def test_equal_bytes_of_other_scales_are_other_constants():
    stored = [Tensor("q", (4,), "int8", np.arange(4, dtype=np.int8), Quantization((s,), (0,))) for s in (1.0, 0.5)]
    b = Builder()
    assert kinds(b, [], *(b.dequantize(tensor) for tensor in stored)) == ["DEQUANTIZE"] * 2


def test_reads_on_both_sides_of_an_assignment_stay():
    variable, x = Variable("v", np.ones(3, np.float32)), Tensor("x", (3,))
    b = Builder()
    old = b.unary("TANH", b.read(variable))
    b.assign(variable, x)
    new = b.unary("TANH", b.read(variable))
    assert kinds(b, [x], old, new) == ["READ_VARIABLE", "TANH", "ASSIGN_VARIABLE", "READ_VARIABLE", "TANH"]


def test_several_outputs_merge_together(x):
    b = Builder()
    halves = [(Tensor("left", (2, 3)), Tensor("right", (2, 3))) for _ in range(2)]
    for outputs in halves:
        b.ops.append(Op("SPLIT", (integers(1), x), outputs, {"num_splits": 2}, ""))
    y = b.sub(halves[0][0], halves[1][1])
    assert kinds(b, [x], y, halves[1][0]) == ["SPLIT", "SUB"]


def test_a_variance_s_difference_is_its_neighbour_s():
    """As Keras normalizes: SQUARED_DIFFERENCE(x, mean), and x - mean besides."""
    b, x = Builder(), Tensor("x", (2, 9, 4))
    mean = b.reduce("MEAN", x, (1,), keep_dims=True)
    variance = b.reduce("MEAN", b.binary("SQUARED_DIFFERENCE", x, mean), (1,), keep_dims=True)
    y = b.mul(b.sub(x, mean), b.unary("RSQRT", b.add(variance, constant(1e-3))))
    graph = Graph("g", {"x": x}, {"y": y}, tuple(b.ops))
    merged = merge_common_subexpressions(canonicalise(graph))
    assert [op.kind for op in merged.ops] == ["MEAN", "SUB", "SQUARE", "MEAN", "ADD", "RSQRT", "MUL"]
    value = {"x": np.random.default_rng(0).normal(size=x.shape)}
    np.testing.assert_allclose(evaluate(merged, value)["y"], evaluate(graph, value)["y"], rtol=1e-12)


@pytest.mark.parametrize("shapes", [((2, 3, 4), (4,)), ((1, 4), (3, 1)), ((5,), (5,))])
@pytest.mark.parametrize("activation", ["NONE", "RELU6"])
def test_squared_differences_become_squares_of_differences(shapes, activation):
    x, y = (Tensor(name, shape) for name, shape in zip("xy", shapes, strict=True))
    b = Builder()
    shape = np.broadcast_shapes(*shapes)
    z = b.op("SQUARED_DIFFERENCE", (x, y), shape, fused_activation_function=activation)
    graph = Graph("g", {"x": x, "y": y}, {"z": z}, tuple(b.ops))
    canonical = canonicalise(graph)
    assert [op.kind for op in canonical.ops][:2] == ["SUB", "SQUARE"]
    values = {t.name: 2 * np.random.default_rng(0).normal(size=t.shape) for t in (x, y)}
    np.testing.assert_allclose(evaluate(canonical, values)["z"], evaluate(graph, values)["z"], rtol=1e-12)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_updates_stay(network):
    forward = NETWORKS[network]()
    step = step_of(forward)
    batch = batch_of(forward)
    assert_same_updates(step, step_of(merge_common_subexpressions(forward)), batch)
    merged = merge_common_subexpressions(step)
    assert len(merged.ops) <= len(step.ops)
    assert_same_updates(step, merged, batch)


def test_a_block_that_is_written_twice_is_computed_once():
    n = Network(4, 4, 2)
    once = n.act(n.dense(n.x, 8))
    written = [op for op in n.b.ops if op.kind != "READ_VARIABLE"]
    twice = {}
    for op in written:
        twice[op.outputs[0]] = Tensor("twice", op.outputs[0].shape)
        n.b.copy(Op(op.kind, tuple(twice.get(t, t) for t in op.inputs), (twice[op.outputs[0]],), op.attributes))
    forward = n.head(n.b.add(once, twice[once]))
    merged = merge_common_subexpressions(forward)
    assert len(merged.ops) == len(forward.ops) - len(written)
    assert_same_updates(step_of(forward), step_of(merged), batch_of(forward))
