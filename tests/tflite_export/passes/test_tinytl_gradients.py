"""One-bit masks and where they are applied."""

import numpy as np
import pytest

from tests.tflite_export.passes.test_tinytl_layers import RANDOM, check, int8_kernel
from tflite_export.builder import Builder, constant
from tflite_export.evaluate.tinytl import pack_mask, unpack_mask
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.tinytl_gradients import mask_bytes


def layer(b, x, out, activation="RELU6"):
    """(y, mask, kernel) of a pointwise layer."""
    kernel = int8_kernel((out, 1, 1, x.shape[3]))
    y = b.unary(activation, b.add(b.conv_2d(x, kernel), constant(RANDOM.normal(size=out))))
    return y, b.op("ACTIVATION_MASK", (y,), y.shape, "bool", activation=activation), kernel


def input_gradient(b, dy, kernel, x):
    steps = {"stride_h": 1, "stride_w": 1, "padding": ((0, 0), (0, 0))}
    return b.op("CONV_2D_INPUT_GRADIENT", (dy, kernel), x.shape, **steps)


def masked(b, gradient, mask):
    return b.op("APPLY_MASK", (gradient, mask), mask.shape)


def run(b, inputs, outputs) -> list:
    return check(Graph("main", {t.name: t for t in inputs}, outputs, tuple(b.ops)))


@pytest.mark.parametrize("channels", [1, 7, 8, 9, 20])
def test_a_mask_is_whole_bytes_a_pixel(channels):
    passes = RANDOM.random((2, 3, 1, channels)) > 0.5
    packed = pack_mask(passes)
    assert packed.size == mask_bytes(Tensor("y", passes.shape)) == 6 * -(-channels // 8)
    first = packed[0]
    assert [bool(first >> i & 1) for i in range(min(8, channels))] == list(passes[0, 0, 0, :8])
    np.testing.assert_array_equal(unpack_mask(packed, passes.shape), passes)


@pytest.mark.parametrize("shape", [(1, 3, 5, 3), (2, 1, 1, 9)])
@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
def test_an_input_gradient_masks_what_it_writes(shape, activation):
    b, x = Builder("layer"), Tensor("x", shape)
    y, mask, _ = layer(b, x, 10, activation)
    kernel = int8_kernel((4, 1, 1, 10))
    z = b.conv_2d(y, kernel)
    dz = Tensor("dz", z.shape)
    gradient = masked(b, input_gradient(b, dz, kernel, y), mask)
    ops = run(b, [x, dz], {"z": z, "dy": gradient})
    assert [op.kind for op in ops] == ["TINYTL_CONV_2D", "TINYTL_CONV_2D", "TINYTL_CONV_2D_INPUT_GRADIENT"]
    assert ops[-1].inputs[3] is ops[0].outputs[1] and ops[0].outputs[1].dtype == "uint8"


def test_gradients_on_two_ways_are_added_inside():
    b, x = Builder("layer"), Tensor("x", (1, 3, 4, 5))
    y, mask, _ = layer(b, x, 6)
    kernels = [int8_kernel((n, 1, 1, 6)) for n in (4, 7)]
    ends = [b.conv_2d(y, kernel) for kernel in kernels]
    dys = [Tensor(f"d{i}", end.shape) for i, end in enumerate(ends)]
    first, second = (input_gradient(b, dy, kernel, y) for dy, kernel in zip(dys, kernels))
    total = masked(b, b.add(b.add(second, Tensor("other", y.shape)), first), mask)
    other = b.ops[-3].inputs[1]
    ops = run(b, [x, *dys, other], {"dy": total, **{f"z{i}": end for i, end in enumerate(ends)}})
    gradients = [op for op in ops if op.kind.endswith("INPUT_GRADIENT")]
    assert len(gradients) == 2 and all(op.inputs[4] is not None for op in gradients)
    assert [op.inputs[3] is not None for op in gradients].count(True) == 1
    assert not any(op.kind in ("ADD", "APPLY_MASK") for op in ops)


@pytest.mark.parametrize("stretched", [False, True])
def test_a_mask_behind_another_operator_is_applied_with_the_bias(stretched):
    b, x = Builder("layer"), Tensor("x", (2, 3, 3, 4))
    y, mask, _ = layer(b, x, 9)
    g = Tensor("g", (2, 1, 1, 9) if stretched else y.shape)
    dy = masked(b, b.broadcast(g, y.shape), mask)
    ops = run(b, [x, g], {"y": y, "dy": dy, "db": b.sum(dy, [0, 1, 2])})
    assert [op.kind for op in ops if op.kind.startswith("TINYTL")] == ["TINYTL_CONV_2D", "TINYTL_BIAS_GRADIENT"]
    assert not any(op.kind == "SUM" for op in ops)


def test_sums_over_all_but_channels_and_no_others():
    b, x, y = Builder(), Tensor("x", (2, 3, 4, 5)), Tensor("y", (3, 5))
    outputs = {"a": b.sum(x, [0, 1, 2]), "b": b.sum(y, [-2]), "c": b.sum(x, [1, 2]), "d": b.sum(y, [0], True)}
    kinds = [op.kind for op in run(b, [x, y], outputs)]
    assert kinds == ["TINYTL_BIAS_GRADIENT", "TINYTL_BIAS_GRADIENT", "SUM", "SUM"]


def test_a_mask_that_others_read_stays_bool():
    b, x = Builder("layer"), Tensor("x", (1, 2, 3, 4))
    y, mask, _ = layer(b, x, 5)
    g = Tensor("g", y.shape)
    outputs = {"dy": masked(b, g, mask), "chosen": b.select(mask, g, constant(np.zeros((1, 1, 1, 1))))}
    ops = run(b, [x, g], outputs)
    assert [len(op.outputs) for op in ops] == [1] * len(ops) and "ACTIVATION_MASK" in [op.kind for op in ops]
