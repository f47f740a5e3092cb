"""Custom operators in a file: their options byte for byte, there and back, and what is refused."""

import dataclasses
import struct

import pytest

from tflite_export import flatbuffer
from tflite_export.flatbuffer import custom_options
from tflite_export.flatbuffer.checked import checked
from tflite_export.graph import CUSTOM, Graph, Op, Program, Tensor

WINDOW = {"stride_h": 2, "stride_w": 1, "pad_top": 1, "pad_left": 0, "groups": 1, "activation": "RELU6"}
ADAM = {"optimizer": "ADAM", "nesterov": False, "momentum": 0.0, "beta_1": 0.5, "beta_2": 0.25, "epsilon": 0.125}
ADAM["weight_decay"] = 2.0
BOTH = {**WINDOW, **ADAM}


def layer(**changes) -> Program:
    """One layer with its mask, [1, 5, 4, 3] to [1, 3, 2, 9]."""
    x, kernel = Tensor("x", (1, 5, 4, 3)), Tensor("kernel", (9, 3, 3, 3))
    y, mask = Tensor("y", (1, 3, 2, 9)), Tensor("mask", (12,), "uint8")
    op = Op("TINYTL_CONV_2D", (x, kernel, None, None), (y, mask), WINDOW)
    op = dataclasses.replace(op, **changes)
    outputs = {tensor.name: tensor for tensor in op.outputs}
    return Program((Graph("main", {"x": x, "kernel": kernel}, outputs, (op,)),))


@pytest.mark.parametrize("kind", CUSTOM)
def test_options_there_and_back(kind):
    content = custom_options.pack(kind, BOTH)
    assert len(content) == 4 * (1 + 6 * ("CONV_2D" in kind) + 7 * kind.endswith("UPDATE"))
    attributes = custom_options.unpack(kind, content)
    assert attributes == {name: BOTH[name] for name in attributes}


def test_the_words_are_those_of_the_readme():
    content = custom_options.pack("TINYTL_CONV_2D_KERNEL_UPDATE", BOTH)
    assert struct.unpack("<9i5f", content) == (1, 2, 1, 1, 0, 1, 2, 2, 0, 0.0, 0.5, 0.25, 0.125, 2.0)


def test_a_file_there_and_back():
    program = flatbuffer.read(flatbuffer.write(layer()))
    (op,) = program.signatures[0].ops
    assert (op.kind, op.attributes) == ("TINYTL_CONV_2D", WINDOW)
    assert [t and t.shape for t in op.inputs] == [(1, 5, 4, 3), (9, 3, 3, 3), None, None]
    assert [t.shape for t in op.outputs] == [(1, 3, 2, 9), (12,)]
    checked(flatbuffer.write(layer()))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "TINYTL_CONV_2D has 0 bytes of custom options, 28 are expected"),
        (struct.pack("<7i", 2, 1, 1, 0, 0, 1, 0), "version 2 of the custom options, 1 is expected"),
        (struct.pack("<7i", 1, 1, 1, 0, 0, 1, 3), "the activation 3, which stands for none of NONE, RELU, RELU6"),
    ],
)
def test_wrong_options(content, message):
    with pytest.raises(ValueError, match=message):
        custom_options.unpack("TINYTL_CONV_2D", content)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"outputs": (Tensor("y", (1, 3, 2, 8)), Tensor("mask", (6,), "uint8"))}, "one from 3 channels to 8"),
        ({"outputs": (Tensor("y", (1, 9, 2, 9)), Tensor("mask", (36,), "uint8"))}, "windows in the map"),
        ({"outputs": (Tensor("y", (1, 3, 2, 9)), Tensor("mask", (7,), "uint8"))}, "the file declares another"),
        ({"attributes": {**WINDOW, "stride_h": 0}}, "strides from 1"),
        ({"attributes": {**WINDOW, "groups": 2}}, "in 2 groups"),
    ],
)
def test_checked_refuses_what_does_not_go_together(changes, message):
    with pytest.raises(ValueError, match=message):
        checked(flatbuffer.write(layer(**changes)))
