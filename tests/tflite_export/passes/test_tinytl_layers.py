"""Layers as custom operators: the same numbers, int8 constants shared both ways, and what must stay as it is."""

import numpy as np
import pytest

from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import CUSTOM, Graph, Tensor, Variable
from tflite_export.passes.tinytl_kernels import use_tinytl_kernels
from tflite_export.passes.tinytl_layers import int8_by_channel

RANDOM = np.random.default_rng(0)
STEP = {"padding", "stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor"}


def int8_kernel(shape, axis=0) -> Tensor:
    scale = RANDOM.uniform(0.01, 0.1, [n if i == axis else 1 for i, n in enumerate(shape)]).astype(np.float32)
    return constant(RANDOM.integers(-127, 128, shape).astype(np.float32) * scale, name="kernel")


def with_gradients(b, x, kernel, y) -> Graph:
    """x, dy -> y and both gradients of the convolution that `b` ends with."""
    op, dy = b.ops[-1], Tensor("dy", y.shape)
    attributes = {name: value for name, value in op.attributes.items() if name in STEP}
    outputs = {"y": y, "dx": b.op(f"{op.kind}_INPUT_GRADIENT", (dy, kernel), x.shape, **attributes)}
    if op.kind == "CONV_2D":
        outputs["dk"] = b.op("CONV_2D_KERNEL_GRADIENT", (x, dy), kernel.shape, **attributes)
    return Graph("main", {"x": x, "dy": dy}, outputs, tuple(b.ops))


def both(graph: Graph):
    """(custom form, its outputs, those of `graph`) on random input."""
    inputs = {name: RANDOM.normal(size=t.shape) for name, t in graph.inputs.items()}
    custom = use_tinytl_kernels(graph)
    return custom, evaluate(custom, inputs), evaluate(graph, inputs)


def check(graph: Graph) -> list:
    custom, got, expected = both(graph)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-5, atol=1e-5 * np.abs(value).max(), err_msg=name)
    return list(custom.ops)


@pytest.mark.parametrize(
    "shape, kernel, stride, padding",
    [
        ((1, 5, 7, 3), (5, 3, 3, 3), (1, 1), ((1, 1), (1, 1))),
        ((2, 9, 8, 4), (6, 3, 3, 2), (2, 2), ((0, 1), (1, 1))),  # two groups
        ((3, 1, 1, 1), (1, 1, 1, 1), (1, 1), ((0, 0), (0, 0))),
        ((1, 6, 5, 9), (2, 1, 1, 9), (2, 1), ((0, 0), (0, 0))),
        ((1, 7, 4, 6), (6, 5, 3, 1), (1, 2), ((2, 2), (0, 0))),  # depthwise by groups
    ],
)
@pytest.mark.parametrize("trains", [False, True])
def test_convolutions_both_ways(shape, kernel, stride, padding, trains):
    b, x = Builder("layer"), Tensor("x", shape)
    k = b.read(Variable("k", RANDOM.normal(size=kernel).astype(np.float32))) if trains else int8_kernel(kernel)
    y = b.conv_2d(x, k, stride, padding)
    ops = [op for op in check(with_gradients(b, x, k, y)) if op.kind != "READ_VARIABLE"]
    assert [op.kind for op in ops] == ["TINYTL_CONV_2D" + of for of in ("", "_INPUT_GRADIENT", "_KERNEL_GRADIENT")]
    kernels = {op.inputs[1].dtype if trains else op.inputs[1].data.tobytes() for op in ops[:2]}
    assert len(kernels) == 1 and ops[0].inputs[1].dtype == ("float32" if trains else "int8")


@pytest.mark.parametrize(
    "shape, multiplier", [((1, 5, 7, 3), 1), ((2, 8, 9, 8), 1), ((1, 4, 4, 1), 1), ((1, 5, 5, 3), 2)]
)
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_depthwise_convolutions_both_ways(shape, multiplier, stride):
    b, x = Builder("layer"), Tensor("x", shape)
    k = int8_kernel((1, 3, 3, shape[3] * multiplier), 3)
    ops = check(with_gradients(b, x, k, b.depthwise_conv_2d(x, k, stride, ((1, 1), (1, 1)))))
    kind = "TINYTL_DEPTHWISE_CONV_2D" if multiplier == 1 else "TINYTL_CONV_2D"
    assert [op.kind for op in ops] == [kind, kind + "_INPUT_GRADIENT"]


@pytest.mark.parametrize("rows, inputs, out", [(1, 5, 3), (3, 9, 10), (2, 1, 1)])
def test_matrix_products_are_layers_and_their_gradients(rows, inputs, out):
    b, x, dy, k = Builder("dense"), Tensor("x", (rows, inputs)), Tensor("dy", (rows, out)), int8_kernel((out, inputs))
    outputs = {"y": b.matmul(x, k, adj_y=True), "dx": b.matmul(dy, k), "dk": b.matmul(dy, x, adj_x=True)}
    ops = check(Graph("main", {"x": x, "dy": dy}, outputs, tuple(b.ops)))
    assert [op.kind for op in ops] == ["TINYTL_CONV_2D" + of for of in ("", "_INPUT_GRADIENT", "_KERNEL_GRADIENT")]
    assert ops[0].inputs[1].dtype == ops[1].inputs[1].dtype == "int8"


def test_a_kernel_stored_the_other_way_round_is_turned_at_compile_time():
    b, x = Builder("dense"), Tensor("x", (2, 12))
    (op,) = check(Graph("main", {"x": x}, {"y": b.matmul(x, int8_kernel((12, 10), 1))}, tuple(b.ops)))
    assert op.kind == "TINYTL_CONV_2D" and op.inputs[1].shape == (10, 12) and op.inputs[1].dtype == "int8"


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1", None])
def test_bias_and_activation_are_inside(activation):
    b, x = Builder("layer"), Tensor("x", (1, 4, 5, 3))
    bias = b.add(b.read(Variable("b", RANDOM.normal(size=6).astype(np.float32))), constant(np.ones(6)))
    y = b.add(b.conv_2d(x, int8_kernel((6, 3, 3, 3))), bias)
    y = b.unary(activation, y) if activation else y
    kinds = [op.kind for op in check(Graph("main", {"x": x}, {"y": y}, tuple(b.ops)))]
    extra = ["RELU_N1_TO_1"] if activation == "RELU_N1_TO_1" else []
    assert kinds == ["READ_VARIABLE", "ADD", "TINYTL_CONV_2D", *extra]


def test_what_no_kernel_runs_stays():
    b, x = Builder("layer"), Tensor("x", (1, 9, 9, 4))
    dilated = b.conv_2d(x, int8_kernel((4, 3, 3, 4)), dilation=(2, 2))
    trained = b.depthwise_conv_2d(x, b.read(Variable("k", np.ones((1, 3, 3, 4), np.float32))))
    wide = b.conv_2d(x, int8_kernel((4, 1, 1, 4)), padding=((1, 1), (1, 1)))  # a window that lies outside
    ops = check(Graph("main", {"x": x}, {"a": dilated, "b": trained, "c": wide}, tuple(b.ops)))
    assert not [op for op in ops if op.kind in CUSTOM]


def test_the_channels_of_a_part_of_a_kernel_are_found():
    whole = int8_kernel((6, 1, 1, 40)).data
    part = whole[..., :2]
    values, scale = int8_by_channel(Tensor("part", part.shape, "float32", part), 0)
    np.testing.assert_allclose(values.data * scale.data.reshape(-1, 1, 1, 1), part, rtol=1e-6)
    noise = Tensor("noise", (4, 30), "float32", RANDOM.normal(size=(4, 30)).astype(np.float32))
    assert int8_by_channel(noise, 0) is None
