"""A convolution for each group gives the outputs and the updates of the group convolution."""

import numpy as np
import pytest

from tflite_export.accumulation import Accumulators, accumulate
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.losses import CategoricalCrossentropy
from tflite_export.part_variables import PartVariable, by_group
from tflite_export.passes.group_kernels import convolve_by_group, groups_of_kernels

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


@pytest.mark.parametrize("keras_layout", [True, False])
@pytest.mark.parametrize("groups", [2, 3])
def test_outputs_and_gradients_are_the_same(keras_layout, groups):
    graph, x = network(keras_layout, groups), {"x": values(2, 4, 4, 96)}
    variables = graph.variables
    found = groups_of_kernels(graph)
    assert {v.name: of for v, of in found.items()} == {"kernel": (groups, 3 if keras_layout else 0)}
    stored = by_group(variables, found)
    assert sum(isinstance(v, PartVariable) for v in stored) == groups
    apart = convolve_by_group(graph, stored)
    assert set(apart.variables) == set(stored)
    np.testing.assert_allclose(evaluate(apart, x)["output"], evaluate(graph, x)["output"], rtol=1e-12)
    fed, sums = {**x, "y": np.eye(3, dtype=np.float32)[[1, 2]]}, []
    for forward, kept in ((graph, variables), (apart, stored)):
        accumulators, state = Accumulators.of(kept), {}
        evaluate(accumulate(forward, CategoricalCrossentropy(), accumulators), fed, state)
        sums.append({v: state[total] for v, total in accumulators.sums.items()})
    whole, parts = ({v.name: value for v, value in of.items()} for of in sums)
    joined = np.concatenate([value for name, value in parts.items() if "group" in name], 3 if keras_layout else 0)
    assert np.any(whole["kernel"]) and np.any(whole["before"])
    np.testing.assert_allclose(joined, whole["kernel"], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(parts["before"], whole["before"], rtol=1e-10)


def test_a_kernel_that_something_else_reads_stays_whole():
    graph = network(keras_layout=False, groups=2)
    (kernel,) = (op.outputs[0] for op in graph.ops if op.kind == "READ_VARIABLE" and len(op.outputs[0].shape) == 4)
    assert not groups_of_kernels(graph.replace(outputs={**graph.outputs, "kernel": kernel}))
    assert not groups_of_kernels(network(keras_layout=False, groups=1))
