"""A convolution for each group, or a product for some outputs, gives the outputs and the updates of the whole layer."""

import numpy as np
import pytest

from tflite_export.accumulation import Accumulators, accumulate
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.losses import CategoricalCrossentropy
from tflite_export.part_variables import Division, PartVariable, in_parts
from tflite_export.passes.kernels_in_parts import compute_in_parts, divisions_of_kernels

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


def dense_network(keras_layout: bool) -> Graph:
    """A kernel of which no half is small enough, but a third is."""
    b, x = Builder("net"), Tensor("x", (2, 64))
    y = b.add(x, b.read(Variable("before", values(64))))
    kernel = b.read(Variable("kernel", values(*((64, 4200) if keras_layout else (4200, 64)))))
    y = b.unary("RELU6", b.matmul(y, kernel, adj_y=not keras_layout))
    logits = b.matmul(y, constant(values(3, 4200)), adj_y=True)
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
    counts = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15)
    assert named(divisions_of_kernels(graph)) == {"kernel": Division(axis, counts)}
    check_outputs_and_gradients(graph, {"x": values(2, 64)}, 3)


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
