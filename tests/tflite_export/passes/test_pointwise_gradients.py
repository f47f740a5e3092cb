"""Input gradients of 1x1 convolutions with a frozen kernel: exact, and without a second copy of the kernel."""

import numpy as np
import pytest

from tests.tflite_export.runtimes import relative_difference, run_everywhere
from tflite_export import flatbuffer
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Program, Tensor
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.legalise import is_pointwise_gradient
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.legalise_micro import legalise_micro
from tflite_export.passes.legalise_xnnpack import legalise_xnnpack

RANDOM = np.random.default_rng(0)


def kernel_of(*shape) -> Tensor:
    return constant(RANDOM.normal(size=shape).astype(np.float32), name="kernel")


def convolution_and_gradient(shape, kernel, stride=(1, 1), padding=((0, 0), (0, 0))) -> Graph:
    """``main``: x, gradient -> y, dx of one convolution."""
    b, x = Builder("layer"), Tensor("x", shape)
    y = b.conv_2d(x, kernel, stride, padding)
    gradient = Tensor("gradient", y.shape)
    forward = b.ops[-1]
    attributes = {k: v for k, v in forward.attributes.items() if k != "fused_activation_function"}
    dx = b.op("CONV_2D_INPUT_GRADIENT", (gradient, kernel), shape, **attributes)
    return Graph("main", {"x": x, "gradient": gradient}, {"y": y, "dx": dx}, tuple(b.ops))


@pytest.mark.parametrize("shape, out", [((2, 5, 3, 4), 7), ((1, 1, 1, 1), 1), ((3, 4, 4, 1), 6), ((1, 7, 2, 9), 1)])
def test_the_gradient_is_the_same_everywhere(shape, out):
    graph = convolution_and_gradient(shape, kernel_of(out, 1, 1, shape[3]))
    assert is_pointwise_gradient(graph.ops[-1])
    inputs = {name: RANDOM.normal(size=t.shape).astype(np.float32) for name, t in graph.inputs.items()}
    kernel = graph.ops[0].inputs[1].data.reshape(out, shape[3])
    expected = {"y": inputs["x"] @ kernel.T, "dx": inputs["gradient"] @ kernel}
    for runtime, got in [("evaluator", evaluate(graph, inputs)), *run_everywhere(graph, inputs)]:
        for name, value in expected.items():
            assert relative_difference(got[name], value) < 1e-5, f"{runtime}: {name}"


@pytest.mark.parametrize("legalise", [legalise_builtin, legalise_xnnpack])
def test_the_file_holds_the_kernel_once(legalise):
    graph = convolution_and_gradient((1, 4, 4, 48), kernel_of(40, 1, 1, 48))
    kernel = graph.ops[0].inputs[1].data
    content = flatbuffer.write(Program((remove_dead_code(legalise(graph)),)))
    assert content.count(kernel.tobytes()) == 1
    assert kernel.nbytes < len(content) < 1.5 * kernel.nbytes


def test_a_kernel_is_turned_round_while_the_step_runs_or_before():
    graph = convolution_and_gradient((1, 4, 4, 8), kernel_of(6, 1, 1, 8))
    kinds = [[op.kind for op in legalise(graph).ops] for legalise in (legalise_builtin, legalise_micro)]
    assert kinds == [["CONV_2D", "TRANSPOSE", "CONV_2D"], ["CONV_2D", "CONV_2D"]]


def test_a_large_kernel_is_turned_in_parts():
    graph = convolution_and_gradient((1, 2, 3, 500), kernel_of(150, 1, 1, 500))
    legal = legalise_builtin(graph)
    turned = [op.outputs[0] for op in legal.ops if op.kind == "TRANSPOSE"]
    assert len(turned) > 1 and sum(t.size for t in turned) == 150 * 500
    assert max(t.nbytes for t in turned) <= 1 << 17
    inputs = {name: RANDOM.normal(size=t.shape).astype(np.float32) for name, t in graph.inputs.items()}
    expected = inputs["gradient"] @ graph.ops[0].inputs[1].data.reshape(150, 500)
    for runtime, got in run_everywhere(graph, inputs):
        assert relative_difference(got["dx"], expected) < 1e-5, runtime


def test_a_swapped_kernel_is_never_folded():
    b = Builder()
    kernel = kernel_of(6, 1, 1, 8)
    swapped = b.op("SWAPPED_KERNEL", (kernel,), (8, 1, 1, 6), begin=0)
    graph = Graph("g", {}, {"y": b.unary("NEG", swapped)}, tuple(b.ops))
    assert fold_constants(graph).ops == graph.ops
    np.testing.assert_array_equal(evaluate(graph, {})["y"], -kernel.data.transpose(3, 1, 2, 0))


OTHERS = {
    "window": ((1, 5, 5, 4), kernel_of(6, 3, 3, 4), (1, 1), ((1, 1), (1, 1))),
    "row": ((1, 5, 5, 4), kernel_of(6, 1, 3, 4), (1, 1), ((0, 0), (1, 1))),
    "stride": ((1, 5, 5, 4), kernel_of(6, 1, 1, 4), (2, 2), ((0, 0), (0, 0))),
    "padding": ((1, 5, 5, 4), kernel_of(6, 1, 1, 4), (1, 1), ((1, 0), (0, 1))),
    "groups": ((1, 5, 5, 4), kernel_of(6, 1, 1, 2), (1, 1), ((0, 0), (0, 0))),
}


@pytest.mark.parametrize("other", OTHERS)
def test_other_gradients_go_their_own_way(other):
    graph = convolution_and_gradient(*OTHERS[other])
    assert not is_pointwise_gradient(graph.ops[-1])
    assert "TRANSPOSE" not in {op.kind for op in legalise_builtin(graph).ops}
    inputs = {name: RANDOM.normal(size=t.shape).astype(np.float32) for name, t in graph.inputs.items()}
    expected = evaluate(graph, inputs)["dx"]
    for runtime, got in run_everywhere(graph, inputs):
        assert relative_difference(got["dx"], expected) < 1e-5, runtime


def test_a_trained_kernel_is_not_frozen():
    kernel = Tensor("kernel", (6, 1, 1, 4))
    assert not is_pointwise_gradient(convolution_and_gradient((1, 5, 5, 4), kernel).ops[-1])
