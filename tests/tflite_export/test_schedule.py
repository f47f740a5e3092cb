"""The schedule: same results, all constraints, never more memory, and much less where the order was bad."""

import itertools
import time

import numpy as np
import pytest

from tests.tflite_export.random_graphs import random_graph, random_inputs
from tflite_export.aliasing import check_in_place
from tflite_export.arena import plan
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.schedule import schedule
from tflite_export.state_order import state_edges

RUNTIMES = ["litert", "micro"]


def is_safe(graph, runtime):
    try:
        check_in_place(graph, runtime)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("seed", range(25))
def test_random_graphs(seed, runtime):
    graph = random_graph(seed, operators=60)
    result = schedule(graph, runtime)
    assert set(graph.outputs.values()) == set(result.outputs.values())
    position = {op: i for i, op in enumerate(result.ops)}
    if len(result.ops) == len(graph.ops):
        assert set(position) == set(graph.ops)
    for before, after in state_edges(result):
        assert position[before] < position[after]
    check_in_place(result, runtime)
    if is_safe(graph, runtime):
        assert plan(result, runtime).total_bytes <= plan(graph, runtime).total_bytes

    inputs, states = random_inputs(graph), ({}, {})
    expected, got = (evaluate(g, inputs, state) for g, state in zip((graph, result), states))
    for name in expected:
        np.testing.assert_array_equal(expected[name], got[name])
    assert set(states[0]) == set(states[1])
    for variable, value in states[0].items():
        np.testing.assert_array_equal(value, states[1][variable])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_is_deterministic(runtime):
    graph = random_graph(5, operators=60)
    first, second = schedule(graph, runtime), schedule(graph, runtime)
    assert [repr(op) for op in first.ops] == [repr(op) for op in second.ops]


def training_chain(layers, width=4096):
    """What automatic differentiation gives: all of the forward pass, then masks, gradients and updates.

    Every layer is ``y = relu(x + bias)``; its gradient needs one bool per element, its bias the gradient's sum.
    """
    b, x = Builder(), Tensor("x", (1, width))
    biases = [Variable(f"bias{i}", np.full((1, 1), 0.1, np.float32)) for i in range(layers)]
    reads = [b.read(bias) for bias in biases]
    y, activations = x, []
    for read in reads:
        y = b.unary("RELU", b.unary("TANH", b.add(y, read)))
        activations.append(y)
    masks = [b.compare("GREATER", y, constant(0)) for y in activations]
    gradient = b.unary("ABS", activations[-1])
    updates = []
    for mask, read in list(zip(masks, reads))[::-1]:
        gradient = b.unary("TANH", b.select(mask, gradient, constant(0)))
        updates.append(b.sub(read, b.sum(gradient, [0, 1], keep_dims=True)))
    for bias, update in zip(biases[::-1], updates):
        b.assign(bias, update)
    return Graph("train", {"x": x}, {"loss": b.sum(activations[-1], [1])}, tuple(b.ops))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_masks_are_taken_before_the_forward_pass_moves_on(runtime):
    layers, width = 12, 4096
    graph = training_chain(layers, width)
    full, mask = 4 * width, width
    assert plan(graph, runtime).total_bytes > layers * full  # every activation waits for its mask
    best = plan(schedule(graph, runtime), runtime).total_bytes
    assert best < layers * mask + 4 * full


def test_reads_go_where_they_are_used():
    b, x = Builder(), Tensor("x", (1, 1000))
    kernels = [Variable(f"kernel{i}", np.zeros((1, 1000), np.float32)) for i in range(10)]
    reads = [b.read(kernel) for kernel in kernels]
    y = x
    for read in reads:
        y = b.unary("TANH", b.mul(y, read))
    graph = schedule(Graph("g", {"x": x}, {"y": y}, tuple(b.ops)))
    position = {op: i for i, op in enumerate(graph.ops)}
    for op in graph.ops:
        if op.kind == "READ_VARIABLE":
            reader = next(other for other in graph.ops if op.outputs[0] in other.inputs)
            assert position[reader] - position[op] <= 2
    assert plan(graph).total_bytes <= 4 * 4096


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_what_depends_on_variables_alone_waits_for_its_reader(runtime):
    """Kernels that are computed from others, in chains and from two variables, are there one at a time."""
    b, x = Builder(), Tensor("x", (1, 1000))
    kernels = [Variable(f"kernel{i}", np.full((1, 1000), 0.1, np.float32)) for i in range(11)]
    reads = [b.read(kernel) for kernel in kernels]
    derived = [b.unary("TANH", b.unary("EXP", b.mul(*pair))) for pair in itertools.pairwise(reads)]
    y = x
    for kernel in derived:
        y = b.unary("LOGISTIC", b.mul(y, kernel))
    graph = schedule(Graph("g", {"x": x}, {"y": y}, tuple(b.ops)), runtime)
    position = {op.outputs[0]: i for i, op in enumerate(graph.ops)}
    for kernel in derived:
        reader = next(i for i, op in enumerate(graph.ops) if kernel in op.inputs)
        assert reader - position[kernel] == 1
    values = {"x": np.random.default_rng(0).normal(size=(1, 1000))}
    np.testing.assert_array_equal(evaluate(graph, values)["y"], evaluate(graph.replace(ops=tuple(b.ops)), values)["y"])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_derived_kernel_is_computed_before_what_it_is_derived_from_changes(runtime):
    """Although nothing but the last operator asks for it."""
    variable, x = Variable("v", np.ones((1, 4), np.float32)), Tensor("x", (1, 4))
    b = Builder()
    kernel = b.unary("EXP", b.unary("NEG", b.read(variable)))
    gradient = b.unary("TANH", x)
    b.assign(variable, b.sub(b.read(variable), gradient))
    graph = Graph("g", {"x": x}, {"y": b.mul(b.unary("ABS", gradient), kernel)}, tuple(b.ops))
    values = {"x": np.full((1, 4), 2.0)}
    states = {}, {}
    expected, got = evaluate(graph, values, states[0]), evaluate(schedule(graph, runtime), values, states[1])
    np.testing.assert_array_equal(got["y"], expected["y"])
    np.testing.assert_array_equal(states[1][variable], states[0][variable])


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_updates_do_not_wait_for_one_another(runtime):
    """A bias per layer takes the sum of its gradient map: at once, or all maps wait."""
    layers, width = 8, 4096
    b, gradient = Builder(), Tensor("x", (1, width))
    inputs, updates = {"x": gradient}, []
    for i in range(layers):
        bias = Variable(f"bias{i}", np.zeros((1, 1), np.float32))
        gradient = b.unary("TANH", b.unary("LOGISTIC", gradient))
        updates.append((bias, b.unary("ABS", gradient)))
    for bias, change in updates:
        b.assign(bias, b.sub(b.read(bias), b.sum(change, [0, 1], keep_dims=True)))
    graph = Graph("train", inputs, {"loss": b.sum(gradient, [1])}, tuple(b.ops))
    assert plan(graph, runtime).total_bytes > layers * 4 * width
    assert plan(schedule(graph, runtime), runtime).total_bytes < 4 * 4 * width


def test_an_assignment_waits_for_reads_that_nobody_uses_yet():
    variable = Variable("v", np.ones((1, 4), np.float32))
    b, x = Builder(), Tensor("x", (1, 4))
    old = b.read(variable)
    b.assign(variable, x)
    new = b.read(variable)
    graph = Graph("g", {"x": x}, {"old": old, "new": new}, tuple(b.ops))
    for runtime in RUNTIMES:
        values = evaluate(schedule(graph, runtime), {"x": np.full((1, 4), 7)})
        assert values["old"].max() == 1 and values["new"].min() == 7


def test_graphs_without_work():
    x = Tensor("x", (1, 4))
    assert schedule(Graph("g", {"x": x}, {"x": x}, ())).ops == ()
    b = Builder()
    b.assign(Variable("v", np.ones((1, 4), np.float32)), x)
    restore = Graph("restore", {"v": x}, {"ok": constant(1)}, tuple(b.ops))
    assert schedule(restore).ops == restore.ops


def test_thousands_of_operators_take_seconds():
    graph = training_chain(layers=400, width=64)
    assert len(graph.ops) > 3000
    start = time.perf_counter()
    result = schedule(graph)
    assert time.perf_counter() - start < 30  # about 4 s on two slow cores
    assert plan(result).total_bytes < plan(graph).total_bytes


def test_refusals():
    graph = random_graph(0)
    for runtime in RUNTIMES:
        with pytest.raises(ValueError, match="out of order"):
            schedule(graph.replace(ops=graph.ops[::-1]), runtime)
    with pytest.raises(ValueError, match="runtime must be one of"):
        schedule(graph, "tvm")
