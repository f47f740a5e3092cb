"""The trap of LiteRT 2.3 (one operator overwrites what another still reads): found, avoided, repaired."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.tflite_export.random_graphs import random_graph, random_inputs
from tflite_export.aliasing import check_in_place, insert_copies, order_edges
from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.flatbuffer import write
from tflite_export.graph import Graph, Op, Program, Tensor, Variable
from tflite_export.schedule import schedule
from tflite_export.state_order import state_edges


def litert_error(graph):
    """The largest difference between LiteRT's builtin kernels and the evaluator over all outputs."""
    interpreter = Interpreter(
        model_content=write(Program((graph,))),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    inputs = random_inputs(graph)
    got, expected = interpreter.get_signature_runner(graph.name)(**inputs), evaluate(graph, inputs)
    return max(float(np.abs(got[name] - expected[name]).max()) for name in expected)


def the_trap(late_reader):
    """EXP -> SUB -> RESHAPE -> MUL -> ABS, and SOFTMAX of SUB's output: behind or in front of MUL."""
    b = Builder()
    logits, target, rate = Tensor("logits", (1, 10)), Tensor("target", (1, 10)), Tensor("rate", (1,))
    delta = b.sub(b.unary("EXP", logits), target)
    alias = b.reshape(delta, (10,))
    if not late_reader:
        softmax = b.unary("SOFTMAX", delta, beta=1.0)
    update = b.unary("ABS", b.mul(rate, alias))
    if late_reader:
        softmax = b.unary("SOFTMAX", delta, beta=1.0)
    inputs = {"logits": logits, "target": target, "rate": rate}
    return Graph("step", inputs, {"softmax": softmax, "update": update}, tuple(b.ops))


def test_the_trap_is_real_and_is_found():
    graph = the_trap(late_reader=True)
    assert litert_error(graph) > 0.01
    with pytest.raises(ValueError, match=r"overwrite 'sub': operator 3, .*MUL.* before operator 5, .*SOFTMAX"):
        check_in_place(graph)


def test_the_repaired_order_passes():
    graph = the_trap(late_reader=False)
    check_in_place(graph)
    assert litert_error(graph) < 1e-5


def test_the_schedule_repairs_the_order_without_a_copy():
    graph = schedule(the_trap(late_reader=True))
    kinds = [op.kind for op in graph.ops]
    assert "SLICE" not in kinds and kinds.index("SOFTMAX") < kinds.index("MUL")
    assert litert_error(graph) < 1e-5


def test_edges_name_the_reader_and_the_overwriting_operator():
    graph = the_trap(late_reader=True)
    assert [(a.kind, b.kind) for a, b in order_edges(graph)] == [("SOFTMAX", "MUL")]


def test_micro_does_not_share():
    check_in_place(the_trap(late_reader=True), "micro")


def two_updates():
    """Two operators that both work in place on the same value: no order is safe."""
    b, x = Builder(), Tensor("x", (1, 20))
    delta = b.unary("SOFTMAX", b.unary("EXP", x), beta=1.0)
    first = b.unary("TANH", b.mul(b.reshape(delta, (20,)), Tensor("two", (1,), data=np.float32([2]))))
    second = b.unary("TANH", b.mul(b.reshape(delta, (4, 5)), Tensor("three", (1,), data=np.float32([3]))))
    return Graph("step", {"x": x}, {"first": first, "second": second}, tuple(b.ops))


def needs_its_result():
    """The other reader of the value needs the overwriting operator's result."""
    b, x = Builder(), Tensor("x", (1, 20))
    delta = b.unary("SOFTMAX", b.unary("EXP", x), beta=1.0)
    product = b.mul(b.reshape(delta, (20,)), Tensor("two", (1,), data=np.float32([2])))
    y = b.unary("TANH", b.add(b.reshape(b.unary("ABS", product), (1, 20)), delta))
    return Graph("step", {"x": x}, {"y": y}, tuple(b.ops))


@pytest.mark.parametrize("build", [two_updates, needs_its_result])
def test_a_copy_where_no_order_is_safe(build):
    graph = build()
    assert litert_error(graph) > 1e-3
    with pytest.raises(ValueError, match="overwrite"):
        check_in_place(graph)
    repaired = schedule(graph)
    assert [op.kind for op in repaired.ops].count("SLICE") == 1
    check_in_place(repaired)
    assert litert_error(repaired) < 1e-5


def test_nothing_is_copied_without_need():
    for graph in (the_trap(late_reader=True), the_trap(late_reader=False)):
        assert insert_copies(graph) is graph


def test_the_check_agrees_with_litert_on_random_graphs():
    """Whatever passes is right in LiteRT; whatever is wrong in LiteRT is refused."""
    refused = 0
    for seed in range(120):
        graph = random_graph(seed, variables=0)
        try:
            check_in_place(graph)
        except ValueError:
            refused += 1
        else:
            assert litert_error(graph) < 1e-4, seed
    assert refused > 0


def test_random_graphs_are_repaired():
    repaired = 0
    for seed in range(120):
        graph = random_graph(seed, variables=0)
        try:
            check_in_place(graph)
        except ValueError:
            repaired += 1
            assert litert_error(schedule(graph)) < 1e-4, seed
    assert repaired > 0


def test_reads_and_assignments_of_a_variable_keep_their_order():
    variable = Variable("v", np.zeros((1, 2), np.float32))
    value = Tensor("value", (1, 2))
    reads = [Op("READ_VARIABLE", (), (Tensor(f"r{i}", (1, 2)),), {"variable": variable}) for i in range(3)]
    writes = [Op("ASSIGN_VARIABLE", (value,), (), {"variable": variable}) for _ in range(2)]
    ops = (reads[0], reads[1], writes[0], reads[2], writes[1])
    edges = set(state_edges(Graph("g", {"value": value}, {}, ops)))
    assert {(reads[0], writes[0]), (reads[1], writes[0]), (writes[0], reads[2]), (reads[2], writes[1])} <= edges
    assert (reads[0], reads[1]) not in edges
