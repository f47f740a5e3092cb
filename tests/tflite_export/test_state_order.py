"""Variables keep their old value as long as anybody needs it, in XNNPACK too, which elides the copies."""

import itertools

import numpy as np
import pytest

from tests.tflite_export.runtimes import run_litert
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.schedule import schedule
from tflite_export.state_order import check_state_order


def late_reader():
    """``w += x`` and ``y = 2 w`` of the old w, which is read a second time and used after the new w is computed."""
    variable = Variable("w", np.array([1.0, 2.0, 3.0], np.float32))
    b = Builder("w")
    x = Tensor("x", (3,))
    first, second = b.read(variable), b.read(variable)
    new = b.add(first, x)
    y = b.mul(second, constant(2))
    b.assign(variable, new)
    return Graph("step", {"x": x}, {"y": y}, tuple(b.ops))


def test_the_trap_is_real_and_refused():
    graph = late_reader()
    x = np.full(3, 10, np.float32)
    np.testing.assert_array_equal(run_litert(graph, {"x": x}, "builtin")["y"], [2, 4, 6])
    np.testing.assert_array_equal(run_litert(graph, {"x": x}, "xnnpack")["y"], [22, 24, 26])  # twice the *new* value
    with pytest.raises(ValueError, match="may overwrite a variable that operator 3"):
        check_state_order(graph)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_schedule_repairs_it(kernels):
    graph = schedule(late_reader())
    check_state_order(graph)
    x = np.full(3, 10, np.float32)
    np.testing.assert_array_equal(run_litert(graph, {"x": x}, kernels)["y"], [2, 4, 6])


def test_a_reshape_of_a_read_value_is_the_variable_itself():
    """XNNPACK copies nothing for a RESHAPE: who reads its output needs the old value as well."""
    variable = Variable("w", np.arange(1.0, 7.0, dtype=np.float32).reshape(2, 3))
    b, x = Builder("w"), Tensor("x", (6,))
    first, second = b.read(variable), b.read(variable)
    flat = b.reshape(second, (6,))
    b.assign(variable, b.reshape(b.add(b.reshape(first, (6,)), x), (2, 3)))
    y = b.mul(flat, constant(2))
    graph = Graph("step", {"x": x}, {"y": y}, tuple(b.ops))
    inputs, expected = {"x": np.full(6, 10, np.float32)}, 2 * np.arange(1, 7)
    with pytest.raises(ValueError, match="may overwrite a variable"):
        check_state_order(graph)
    repaired = schedule(graph)
    check_state_order(repaired)
    for kernels in ("builtin", "xnnpack"):
        np.testing.assert_array_equal(run_litert(repaired, inputs, kernels)["y"], expected, kernels)
    np.testing.assert_array_equal(run_litert(graph, inputs, "builtin")["y"], expected)


def test_every_order_that_the_check_accepts_is_right_in_xnnpack():
    graph = late_reader()
    first, second, add, double, assign = graph.ops
    x = np.full(3, 10, np.float32)
    verdicts = set()
    for middle in itertools.permutations((first, second, add, double)):
        position = {op: i for i, op in enumerate(middle)}
        if position[first] > position[add] or position[second] > position[double]:
            continue
        candidate = graph.replace(ops=(*middle, assign))
        right = np.array_equal(run_litert(candidate, {"x": x}, "xnnpack")["y"], [2, 4, 6])
        try:
            check_state_order(candidate)
        except ValueError:
            verdicts.add(("refused", right))
        else:
            verdicts.add(("accepted", right))
    assert {("accepted", True), ("refused", False)} <= verdicts
    assert ("accepted", False) not in verdicts
