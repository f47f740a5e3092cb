"""A quantised graph as the float graph that it stands for; whole files are in test_make_trainable."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tflite_export import flatbuffer
from tflite_export.evaluate import evaluate
from tflite_export.evaluate.quantization import dequantize, quantize
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor
from tflite_export.passes.dequantise import dequantise

_CONVOLUTION = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "SAME"}


def quantized(name: str, shape: tuple[int, ...], dtype: str, scale: float, zero_point: int, data=None) -> Tensor:
    return Tensor(name, shape, dtype, data, Quantization((scale,), (zero_point,)))


def two_convolutions(dtype: str, zero_point: int, highest: float) -> Graph:
    """Whose first is clipped by nothing but the range of its output, 0 to `highest` with the lowest zero point."""
    rng, low = np.random.default_rng(0), np.iinfo(dtype).min
    x = quantized("x", (2, 4, 5, 3), dtype, 4 / 255, low + 128)
    first = quantized("first", (6, 3, 3, 3), dtype, 0.02, low + 128, rng.integers(low, low + 256, (6, 3, 3, 3), dtype))
    second = quantized(
        "second", (3, 1, 1, 6), dtype, 0.02, low + 128, rng.integers(low, low + 256, (3, 1, 1, 6), dtype)
    )
    hidden = quantized("hidden", (2, 4, 5, 6), dtype, highest / 255, zero_point)
    y = quantized("y", (2, 4, 5, 3), dtype, highest / 15, low + 128)
    attributes = {**_CONVOLUTION, "fused_activation_function": "NONE"}
    ops = (
        Op("CONV_2D", (x, first, None), (hidden,), attributes),
        Op("CONV_2D", (hidden, second, None), (y,), attributes),
    )
    return Graph("main", {"x": x}, {"y": y}, ops)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(("highest", "activation"), [(6.0, "RELU6"), (5.99, "RELU6"), (30.0, "RELU")])
def test_an_activation_that_only_saturation_does(dtype, highest, activation):
    graph = two_convolutions(dtype, np.iinfo(dtype).min, highest)
    real = dequantise(graph)
    assert [op.attributes["fused_activation_function"] for op in real.ops] == [activation, "NONE"]
    x = quantize(np.random.default_rng(1).uniform(-2, 2, (2, 4, 5, 3)), graph.inputs["x"])
    own = dequantize(evaluate(graph, {"x": x})["y"], graph.outputs["y"])
    got = evaluate(real, {"x": dequantize(x, graph.inputs["x"])})["y"]
    assert np.linalg.norm(got - own) < 0.05 * np.linalg.norm(own)


def test_a_range_on_both_sides_of_zero_is_no_activation():
    graph = two_convolutions("uint8", 1, 6.0)
    assert {op.attributes["fused_activation_function"] for op in dequantise(graph).ops} == {"NONE"}


def test_what_needs_no_activation():
    """The sum of what is not negative, and the scores of a classifier, none of which calibration saw below zero."""
    x, y = (quantized(name, (2, 6), "int8", 6 / 255, -128) for name in "xy")
    scores = quantized("scores", (2, 3), "int8", 0.1, -128)
    kernel = quantized("kernel", (3, 6), "int8", 0.02, 0, np.ones((3, 6), np.int8))
    ops = (
        Op("ADD", (x, x), (y,), {"fused_activation_function": "NONE"}),
        Op("FULLY_CONNECTED", (y, kernel, None), (scores,), {"fused_activation_function": "NONE"}),
    )
    real = dequantise(Graph("main", {"x": x}, {"y": scores}, ops))
    assert {op.attributes["fused_activation_function"] for op in real.ops} == {"NONE"}


@pytest.mark.parametrize("scale, zero_point", [(0.05, 0), (1.0, 7), (1.0, 0)])
@pytest.mark.parametrize("to_integers", [False, True])
def test_casts_of_stored_integers(scale, zero_point, to_integers):
    """LiteRT and the evaluator cast what is stored; the float graph has only what that stands for."""
    stored, number = quantized("stored", (2, 3), "int8", scale, zero_point), Tensor("number", (2, 3))
    x, y = (number, stored) if to_integers else (stored, number)
    graph = Graph("main", {"x": x}, {"y": y}, (Op("CAST", (x,), (y,), {}, "layer"),))
    values = np.array([[1, -2, 3], [4, 5, -6]], np.int8)
    np.testing.assert_array_equal(evaluate(graph, {"x": values})["y"], values)
    if (scale, zero_point) == (1.0, 0):
        np.testing.assert_array_equal(evaluate(dequantise(graph), {"x": values})["y"], values)
    else:
        with pytest.raises(ValueError, match=r"CAST.*origin 'layer'.*casts the integers that a quantised tensor"):
            dequantise(graph)


def test_casts_in_litert():
    """That LiteRT's CAST reads what is stored."""
    x = Tensor("x", (1, 4))
    stored, y = quantized("stored", (1, 4), "int8", 0.5, 7), Tensor("y", (1, 4))
    graph = Graph("main", {"x": x}, {"y": y}, (Op("QUANTIZE", (x,), (stored,)), Op("CAST", (stored,), (y,))))
    values = np.array([[-1, 0, 2, 4.5]], np.float32)
    runner = Interpreter(model_content=flatbuffer.write(Program((graph,)))).get_signature_runner("main")
    expected = [[5, 7, 11, 16]]
    np.testing.assert_array_equal(runner(x=values)["y"], expected)
    np.testing.assert_array_equal(evaluate(graph, {"x": values})["y"], expected)
