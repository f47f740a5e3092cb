"""The numpy integers that programs are held against, where those of a network do not lead."""

from __future__ import annotations

import numpy as np
import pytest

from tflite_export.graph import Graph, Op, Quantization, Tensor
from tflite_export.micro.int8_reference import Simulation, output_of

ONE = Quantization((1.0,), (0,))


@pytest.mark.parametrize("total, expected", [(2244, 0), (2245, 1), (-2244, 0), (-2245, -1)])
def test_the_mean_of_a_large_window_is_rounded_where_it_lies(total, expected):
    """Of 4489 pixels, 2244 / 4489 is nearer to 1 / 2 than the roundings that hide a tie."""
    x = Tensor("x", (1, 67, 67, 1))
    q, y = (Tensor(name, shape, "int8", None, ONE) for name, shape in (("q", x.shape), ("y", (1, 1, 1, 1))))
    window = {"window": (67, 67), "stride": (67, 67), "padding": ((0, 0), (0, 0))}
    ops = (Op("quantize", (x,), (q,), {}, "x"), Op("average_pool", (q,), (y,), window, "pool"))
    values = np.zeros(x.size)
    values[: abs(total)] = np.sign(total)
    simulation = Simulation(Graph("forward", {"x": x}, {"logits": y}, ops), {}, values.reshape(x.shape), {})
    assert simulation.logits.item() == expected


@pytest.mark.parametrize("activation", ["linear", "softmax", "sigmoid"])
def test_outputs_of_logits(activation):
    logits = np.array([-1.0, 0.0, 700.0, 800.0]) / (1 if activation == "softmax" else 400)
    got = output_of(logits, activation)
    assert got.shape == (1, 4)
    if activation == "softmax":
        np.testing.assert_allclose(got, [[0, 0, np.exp(-100), 1]], atol=1e-300)
    if activation == "sigmoid":
        np.testing.assert_allclose(got / (1 - got), np.exp(logits)[None])
    if activation == "linear":
        np.testing.assert_array_equal(got[0], logits)
