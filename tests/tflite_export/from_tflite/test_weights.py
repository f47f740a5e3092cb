"""Which constants are the kernels and biases of a file's layers."""

import numpy as np
import pytest

from tflite_export.builder import Builder, constant
from tflite_export.from_tflite.weights import layers_of
from tflite_export.graph import Graph, Tensor


def scalar(value: float) -> Tensor:
    return Tensor("offset", (), "float32", np.float32(value))


@pytest.mark.parametrize(
    ("added", "is_bias"),
    [(constant([0.5]), True), (constant([[0.5]]), True), (scalar(0.5), False)],
    ids=["vector", "row", "scalar"],
)
def test_what_is_added_to_one_output(added, is_bias):
    b, x = Builder(), Tensor("x", (2, 3))
    y = b.add(b.op("FULLY_CONNECTED", (x, constant(np.ones((1, 3))), None), (2, 1)), added)
    (layer,) = layers_of(Graph("main", {"x": x}, {"output": y}, tuple(b.ops)))
    assert (layer.bias is not None and layer.bias.tensor is added) == is_bias
