"""Forms of input gradients that the builtin kernels take, against the evaluator's own gradients."""

import numpy as np
import pytest

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.input_gradients import average_pool_by_resizing, of_trained_kernel
from tflite_export.passes.rewrite import rewrite

RANDOM = np.random.default_rng(0)


def check(graph: Graph, rule, changes: bool) -> None:
    changed = rewrite(graph, {graph.ops[-1].kind: rule})
    inputs = {name: RANDOM.normal(size=t.shape) for name, t in graph.inputs.items()}
    assert (changed.ops[-1].kind != graph.ops[-1].kind) == changes
    np.testing.assert_allclose(evaluate(changed, inputs)["dx"], evaluate(graph, inputs)["dx"], rtol=1e-6, atol=1e-9)


def convolution(shape, kernel, stride=1, padding=((0, 0), (0, 0)), dilation=1) -> Graph:
    b, k = Builder("layer"), Tensor("kernel", kernel)
    y = b.conv_2d(Tensor("x", shape), k, (stride, stride), padding, (dilation, dilation))
    attributes = {name: value for name, value in b.ops.pop().attributes.items() if name != "fused_activation_function"}
    gradient = Tensor("gradient", y.shape)
    dx = b.op("CONV_2D_INPUT_GRADIENT", (gradient, k), shape, **attributes)
    return Graph("main", {"gradient": gradient, "kernel": k}, {"dx": dx}, tuple(b.ops))


@pytest.mark.parametrize(
    "shape, kernel, options, changes",
    [
        ((1, 5, 5, 4), (6, 3, 3, 2), {"padding": ((1, 1), (1, 1))}, True),
        ((2, 7, 4, 6), (3, 1, 1, 2), {}, True),
        ((1, 6, 5, 3), (3, 5, 3, 1), {"padding": ((2, 2), (1, 0))}, True),
        ((1, 9, 9, 4), (4, 3, 3, 2), {"dilation": 2}, True),
        ((1, 5, 5, 4), (6, 3, 3, 2), {"padding": ((3, 3), (3, 3))}, True),
        ((1, 5, 5, 4), (6, 3, 3, 4), {}, True),
        ((2, 7, 6, 4), (3, 5, 3, 4), {"padding": ((2, 2), (1, 0))}, True),
        ((1, 5, 5, 4), (6, 3, 3, 2), {"stride": 2}, False),
    ],
)
def test_convolutions_whose_kernel_trains(shape, kernel, options, changes):
    check(convolution(shape, kernel, **options), of_trained_kernel, changes)


@pytest.mark.parametrize(
    "shape, window, stride, padding, changes",
    [
        ((2, 6, 4, 3), 2, 2, ((0, 0), (0, 0)), True),
        ((1, 9, 9, 1), 3, 3, ((0, 0), (0, 0)), True),
        ((1, 7, 7, 3), 2, 2, ((0, 1), (0, 1)), False),
        ((1, 6, 6, 2), 3, 2, ((0, 1), (0, 1)), False),
        ((1, 4, 4, 2), 4, 4, ((0, 0), (0, 0)), False),
    ],
)
def test_average_pools(shape, window, stride, padding, changes):
    sizes = [(n + sum(p) - window) // stride + 1 for n, p in zip(shape[1:3], padding)]
    gradient, b = Tensor("gradient", (shape[0], *sizes, shape[3])), Builder("pool")
    attributes = {"stride_h": stride, "stride_w": stride, "filter_height": window, "filter_width": window}
    dx = b.op("AVERAGE_POOL_2D_GRADIENT", (gradient,), shape, padding=padding, **attributes)
    check(Graph("main", {"gradient": gradient}, {"dx": dx}, tuple(b.ops)), average_pool_by_resizing, changes)
