"""What came from int8 or float16 goes back to it, however the compiler turned it; nothing else does."""

import numpy as np
import pytest

from tests.tflite_export.runtimes import KERNELS, run_litert
from tflite_export.builder import Builder, constant
from tflite_export.evaluate.quantization import dequantize
from tflite_export.graph import Graph, Program, Tensor
from tflite_export.passes.small_constants import as_float16, as_int8, with_small_constants

RANDOM = np.random.default_rng(0)


def quantised(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and float32 numbers with a scale per slice along the first axis, whose largest is 127 steps."""
    steps = RANDOM.integers(-127, 128, shape)
    steps.reshape(len(steps), -1)[:, 0] = 127
    scale = RANDOM.uniform(1e-4, 1e-1, len(steps)).astype(np.float32)
    return steps, (scale.reshape(-1, *[1] * (len(shape) - 1)).astype(np.float64) * steps).astype(np.float32)


TURNS = {
    "as it was": lambda a: a,
    "input and output exchanged": lambda a: a.transpose(3, 1, 2, 0),
    "turned round": lambda a: a[:, ::-1, ::-1],
    "some of the outputs": lambda a: a[3:9],
    "a matrix": lambda a: a.reshape(len(a), -1).T,
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_steps_come_back(turn):
    steps, real = quantised(12, 3, 3, 10)
    tensor = as_int8(constant(turn(real)))
    assert tensor.dtype == "int8"
    np.testing.assert_array_equal(tensor.data, turn(steps))
    np.testing.assert_allclose(dequantize(tensor.data, tensor), turn(real), rtol=1e-6)


def test_a_scale_for_all_and_slices_of_zeros():
    steps = RANDOM.integers(-127, 128, (8, 16))
    steps[0, 0] = 127
    tensor = as_int8(constant(np.float32(0.03) * steps))
    np.testing.assert_array_equal(tensor.data, steps)
    assert len(tensor.quantization.scale) == 1
    steps, real = quantised(6, 20)
    steps[2], real[2] = 0, 0
    np.testing.assert_array_equal(as_int8(constant(real)).data, steps)


def test_what_was_cut_to_fewer_steps():
    """Where the largest value of a slice was cut away, the next is fewer than 127 steps."""
    steps, real = quantised(16, 40)
    steps[:, 1], real[:, 1] = steps[:, 0], real[:, 0]
    steps[5, 1:], real[5, 1:] = 100, real[5, 0] / 127 * 100
    steps[5, 2:20], real[5, 2:20] = 99, real[5, 0] / 127 * 99
    tensor = as_int8(constant(real[:, 1:]))
    np.testing.assert_array_equal(tensor.data, steps[:, 1:])


def test_other_numbers_stay_float32():
    assert as_int8(constant(RANDOM.normal(size=(16, 3, 3, 8)))) is None
    assert as_int8(constant(RANDOM.normal(size=(1, 1, 1, 64)))) is None, "a scale per value saves nothing"
    assert as_float16(constant(RANDOM.normal(size=(16, 16)))) is None
    assert as_float16(constant(np.full((16, 16), 1e6))) is None
    assert as_float16(constant(RANDOM.normal(size=(16, 16)).astype(np.float16))).dtype == "float16"


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_litert_computes_the_same(kernels, dtype):
    _, real = quantised(8, 3, 3, 8)
    real = real.astype(np.float16).astype(np.float32) if dtype == "float16" else real
    b, x = Builder(), Tensor("x", (2, 6, 6, 8))
    convolution = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "VALID"}
    y = b.op("CONV_2D", (x, constant(real), constant(np.zeros(8))), (2, 4, 4, 8), **convolution)
    graph = Graph("main", {"x": x}, {"y": y}, tuple(b.ops))
    (small,) = with_small_constants(Program((graph,)), dtype).signatures
    assert [op.kind for op in small.ops] == ["DEQUANTIZE", "CONV_2D"] and small.ops[0].inputs[0].dtype == dtype
    inputs = {"x": RANDOM.normal(size=x.shape).astype(np.float32)}
    expected, got = (run_litert(g, inputs, kernels)["y"] for g in (graph, small))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
