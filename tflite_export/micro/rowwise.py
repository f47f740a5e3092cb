"""Operators that make one row of their output from a few rows of their inputs, forward and backward."""

from __future__ import annotations

from tflite_export.graph import Op, Tensor
from tflite_export.micro.forms import image
from tflite_export.micro.params import kernel_shape

_ELEMENTWISE = ("pixels", "quantize", "dequantize", "scale", "rectify", "add", "masked", "bias_update")
_WINDOWED = ("conv", "depthwise", "average_pool")
_GRADIENTS = ("conv_input_gradient", "depthwise_input_gradient")


def is_rowwise(op: Op) -> bool:
    """Whether a kernel makes single rows of what `op` writes."""
    if op.kind not in (*_ELEMENTWISE, *_WINDOWED, *_GRADIENTS) or (not op.outputs and op.kind != "bias_update"):
        return False
    tensor = op.outputs[0] if op.outputs else op.inputs[0]
    if len(tensor.shape) != 4 or image(tensor)[0] == 1:
        return False
    if op.kind in _GRADIENTS:  # each row, the last one too, then has a window that reads it
        first, end = window(op, 0, image(tensor)[0] - 1)
        return op.attributes["stride"][0] <= kernel_shape(op)[1] and first < end
    return "argmax" not in op.attributes.get("saves", ())


def is_in_place(op: Op) -> bool:
    """Whether it changes or only looks at the rows of its first input."""
    return op.kind == "bias_update" or op.kind == "masked"


def maps(op: Op) -> tuple[Tensor, ...]:
    """The inputs that are read by rows: at most two."""
    if op.kind == "add":
        return op.inputs
    if op.attributes.get("accumulates"):
        return (op.inputs[0], accumulated(op))
    return op.inputs[:1]


def accumulated(op: Op) -> Tensor:
    """What an operator adds its output to."""
    return op.inputs[-2 if op.attributes.get("mask_below") else -1]


def window(op: Op, position: int, row: int) -> tuple[int, int]:
    """The rows [first, end) of map `position` that row `row` of the output is made of."""
    if position > 0 or op.kind in _ELEMENTWISE:
        return row, row + 1
    height, (stride, _), size = image(op.inputs[0])[0], op.attributes["stride"], _size(op)
    top = op.attributes["padding"][0][0]
    if op.kind in _GRADIENTS:
        return max(0, -(-(row + top - size + 1) // stride)), min(height, (row + top) // stride + 1)
    return max(0, row * stride - top), min(height, row * stride - top + size)


def pad_top(op: Op, row: int) -> int:
    """The padding above the first row of the window: of a picture that is as high as the window."""
    if op.kind in _ELEMENTWISE:
        return 0
    (stride, _), top = op.attributes["stride"], op.attributes["padding"][0][0]
    if op.kind in _GRADIENTS:
        return row + top - window(op, 0, row)[0] * stride
    return max(0, top - row * stride)


def _size(op: Op) -> int:
    return op.attributes["window"][0] if "window" in op.attributes else kernel_shape(op)[1]
