"""Reading packed vectors gives the same outputs and the same updates, with one read for all."""

import numpy as np

from tflite_export.accumulation import Accumulators, accumulate
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.losses import CategoricalCrossentropy
from tflite_export.packed_variables import PackedVariable, pack_vectors
from tflite_export.passes.channel_split import split_channels
from tflite_export.passes.packed_reads import read_packed

RANDOM = np.random.default_rng(0)


def values(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def network(largest: int | None = None) -> Graph:
    """A block whose biases are shifted by constants, perhaps in channel parts, and a head."""
    b, x = Builder("net"), Tensor("x", (1, 6, 6, 4))
    biases = {name: b.read(Variable(name, values(n))) for name, n in (("wide", 16), ("narrow", 8), ("head", 3))}
    y = b.conv_2d(x, constant(values(16, 1, 1, 4), name="expand"))
    y = b.unary("RELU6", b.add(y, b.sub(biases["wide"], constant(values(16)))))
    y = b.depthwise_conv_2d(y, constant(values(1, 3, 3, 16), name="depthwise"), padding=((1, 1), (1, 1)))
    y = b.conv_2d(y, constant(values(8, 1, 1, 16), name="project"))
    y = b.sum(b.add(y, biases["narrow"]), (1, 2))
    kernel = b.read(Variable("kernel", values(3, 8)))
    logits = b.add(b.matmul(y, kernel, adj_y=True), biases["head"])
    graph = Graph("main", {"x": x}, {"output": logits}, tuple(b.ops))
    return graph if largest is None else split_channels(graph, largest)


def test_outputs_and_gradients_are_the_same():
    x = {"x": values(1, 6, 6, 4)}
    for largest in (None, 6 * 6 * 8 * 4):
        graph = network(largest)
        variables = graph.variables
        stored = pack_vectors(variables)
        packed = read_packed(graph, stored)
        assert sum(op.kind == "READ_VARIABLE" for op in packed.ops) == 2
        assert not any(op.kind == "SLICE" and op.inputs[0].shape == (16,) for op in packed.ops)
        np.testing.assert_array_equal(evaluate(packed, x)["output"], evaluate(graph, x)["output"])
        y = {**x, "y": np.eye(3, dtype=np.float32)[[1]]}
        found = []
        for forward, kept in ((graph, variables), (packed, stored)):
            sums, state = Accumulators.of(kept).sums, {}
            evaluate(accumulate(forward, CategoricalCrossentropy(), Accumulators(sums, _count())), y, state)
            found.append(_by_name(sums, state))
        assert found[0].keys() == found[1].keys()
        for name, gradient in found[0].items():
            assert np.any(gradient)
            np.testing.assert_allclose(found[1][name], gradient, rtol=1e-10, err_msg=name)


def test_a_graph_that_reads_no_member_stays():
    graph = network()
    other = pack_vectors((Variable("p", values(2)), Variable("q", values(3))))
    assert read_packed(graph, other) is graph


def test_members_that_are_not_read_leave_room():
    graph = network()
    (packed, *_) = pack_vectors((Variable("unread", values(5)), *graph.variables))
    x = {"x": values(1, 6, 6, 4)}
    np.testing.assert_array_equal(evaluate(read_packed(graph, (packed,)), x)["output"], evaluate(graph, x)["output"])


def _count() -> Variable:
    return Variable("accumulated_rows", np.zeros(1, np.float32))


def _by_name(sums, state) -> dict[str, np.ndarray]:
    found = {}
    for variable, total in sums.items():
        members = variable.members if isinstance(variable, PackedVariable) else (variable,)
        parts = np.split(state[total].ravel(), np.cumsum([m.initial.size for m in members])[:-1])
        found.update({m.name: part for m, part in zip(members, parts, strict=True)})
    return found
