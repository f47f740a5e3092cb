"""A convolution for each group, or a product for some outputs, gives the outputs and the updates of the whole layer."""

import numpy as np
import pytest

from tflite_export.accumulation import Accumulators, accumulate
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable, substitute
from tflite_export.losses import CategoricalCrossentropy
from tflite_export.part_variables import Division, PartVariable, in_parts
from tflite_export.passes.kernels_in_parts import compute_in_parts, divisions_of_kernels, join_products

RANDOM = np.random.default_rng(0)


def values(*shape):
    return RANDOM.normal(size=shape, scale=0.1).astype(np.float32)


def network(keras_layout: bool, groups: int) -> Graph:
    b, x = Builder("net"), Tensor("x", (2, 4, 4, 96))
    y = b.add(x, b.read(Variable("before", values(96))))
    inputs = 96 // groups
    if keras_layout:
        kernel = b.transpose(b.read(Variable("kernel", values(5, 5, inputs, 192))), (3, 0, 1, 2))
    else:
        kernel = b.read(Variable("kernel", values(192, 5, 5, inputs)))
    attributes = {"stride_h": 1, "stride_w": 1, "padding": ((2, 2), (2, 2)), "fused_activation_function": "NONE"}
    y = b.op("CONV_2D", (y, kernel, None), (2, 4, 4, 192), **attributes)
    y = b.sum(b.unary("RELU6", y), (1, 2))
    logits = b.matmul(y, constant(values(3, 192)), adj_y=True)
    return Graph("main", {"x": x}, {"output": logits}, tuple(b.ops))


def dense_network(keras_layout: bool, outputs: int = 4201, rows: int = 2) -> Graph:
    """A kernel of which no half is small enough, but a third is, give or take one."""
    b, x = Builder("net"), Tensor("x", (rows, 64))
    y = b.add(x, b.read(Variable("before", values(64))))
    kernel = b.read(Variable("kernel", values(*((64, outputs) if keras_layout else (outputs, 64)))))
    y = b.unary("RELU6", b.matmul(y, kernel, adj_y=not keras_layout))
    logits = b.matmul(y, constant(values(3, outputs)), adj_y=True)
    return Graph("main", {"x": x}, {"output": logits}, tuple(b.ops))


@pytest.mark.parametrize("keras_layout", [True, False])
@pytest.mark.parametrize("groups", [2, 3])
def test_group_convolutions(keras_layout, groups):
    graph, axis = network(keras_layout, groups), 3 if keras_layout else 0
    assert named(divisions_of_kernels(graph)) == {"kernel": Division(axis, (groups,))}
    check_outputs_and_gradients(graph, {"x": values(2, 4, 4, 96)}, groups)


@pytest.mark.parametrize("keras_layout", [True, False])
def test_dense_layers(keras_layout):
    graph, axis = dense_network(keras_layout), 1 if keras_layout else 0
    assert named(divisions_of_kernels(graph)) == {"kernel": Division(axis, tuple(range(1, 17)))}
    check_outputs_and_gradients(graph, {"x": values(2, 64)}, 3)


def test_the_parts_of_a_dense_kernel_are_at_least_one_output():
    assert named(divisions_of_kernels(dense_network(True, outputs=5))) == {"kernel": Division(1, (1, 2, 3, 4, 5))}


def test_a_dense_kernel_that_is_smaller_than_what_it_reads_and_writes_stays_whole():
    assert divisions_of_kernels(dense_network(True, rows=60))
    assert not divisions_of_kernels(dense_network(True, rows=64))


@pytest.mark.parametrize("keras_layout", [True, False])
def test_products_are_one_again_where_nothing_trains(keras_layout):
    graph, x = dense_network(keras_layout), {"x": values(2, 64)}
    apart = compute_in_parts(graph, in_parts(graph.variables, divisions_of_kernels(graph)))
    joined = join_products(with_constants(apart))
    assert [op.kind for op in joined.ops] == ["ADD", "MATMUL", "RELU6", "MATMUL"]
    np.testing.assert_allclose(evaluate(joined, x)["output"], evaluate(graph, x)["output"], rtol=1e-12)


def test_products_of_several_matrices_stay_apart():
    b, x, y = Builder("net"), Tensor("x", (2, 4)), Tensor("y", (2, 4))
    products = [b.matmul(matrix, constant(values(4, 3))) for matrix in (x, y)]
    joined = b.concatenate([products[0], b.unary("RELU", products[1])], 1)
    for output in (joined, b.concatenate(products, 1), b.concatenate(products[:1] * 2, 0)):
        graph = Graph("main", {"x": x, "y": y}, {"output": output}, tuple(b.ops))
        assert sum(op.kind == "CONCATENATION" for op in join_products(graph).ops) == 1


def with_constants(graph: Graph) -> Graph:
    reads = {op.outputs[0]: op.attributes["variable"] for op in graph.ops if op.kind == "READ_VARIABLE"}
    ops = [op for op in graph.ops if op.kind != "READ_VARIABLE"]
    return graph.replace(ops=substitute(ops, {t: constant(v.initial) for t, v in reads.items()}))


def named(divisions: dict[Variable, Division]) -> dict[str, Division]:
    return {variable.name: division for variable, division in divisions.items()}


def check_outputs_and_gradients(graph: Graph, x: dict, count: int) -> None:
    """With the kernel in `count` parts they are those of `graph`."""
    variables, divisions = graph.variables, divisions_of_kernels(graph)
    stored = in_parts(variables, divisions)
    assert sum(isinstance(v, PartVariable) for v in stored) == count
    apart = compute_in_parts(graph, stored)
    assert set(apart.variables) == set(stored)
    np.testing.assert_allclose(evaluate(apart, x)["output"], evaluate(graph, x)["output"], rtol=1e-12)
    fed, sums = {**x, "y": np.eye(3, dtype=np.float32)[[1, 2]]}, []
    for forward, kept in ((graph, variables), (apart, stored)):
        accumulators, state = Accumulators.of(kept), {}
        evaluate(accumulate(forward, CategoricalCrossentropy(), accumulators), fed, state)
        sums.append({v: state[total] for v, total in accumulators.sums.items()})
    whole, parts = ({v.name: value for v, value in of.items()} for of in sums)
    (division,) = divisions.values()
    joined = np.concatenate([value for name, value in parts.items() if "part" in name], division.axis)
    assert np.any(whole["kernel"]) and np.any(whole["before"])
    np.testing.assert_allclose(joined, whole["kernel"], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(parts["before"], whole["before"], rtol=1e-10, atol=1e-14)


def test_a_kernel_that_something_else_reads_stays_whole():
    graph = network(keras_layout=False, groups=2)
    (kernel,) = (op.outputs[0] for op in graph.ops if op.kind == "READ_VARIABLE" and len(op.outputs[0].shape) == 4)
    assert not divisions_of_kernels(graph.replace(outputs={**graph.outputs, "kernel": kernel}))
    assert not divisions_of_kernels(network(keras_layout=False, groups=1))
