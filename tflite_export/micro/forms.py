"""The operators that C kernels run: what the lowering writes and every later stage reads.

They are `graph.Op`s whose kind is written small, so that one look tells them from TFLite's. Layouts are the graph's:
activations NHWC with one row, kernels OHWI and [1, height, width, channels]. A tensor of rank 2 is an image one pixel
wide. An operator that has an ``activation`` ("NONE", "RELU", "RELU6") may have a second output: one bit for each
element of the first, uint8 [ceil(size / 8)], which says where a gradient passes.
"""

from __future__ import annotations

import math

from tflite_export.graph import Op, Tensor

FORWARD = {
    "conv": "(x, kernel, bias or None), stride, padding, groups, activation; a dense layer is one too",
    "depthwise": "(x, kernel, bias or None), stride, padding, activation",
    "add": "(a, b) of one shape -> a + b",
    "subtract": "(a, b) of one shape -> a - b",
    "multiply": "(a, b) of one shape -> a * b",
    "scale": "(x), multiplier and offset: one number each -> x * multiplier + offset",
    "rectify": "(x), activation",
    "group_norm": "(x, gamma, beta), groups, epsilon, activation",
    "average_pool": "(x), window, stride, padding; what lies outside counts for nothing",
    "max_pool": "(x), window, stride, padding",
    "mean": "(x) -> the mean of every channel",
    "bilinear": "(x), half_pixel_centers, align_corners",
    "reshape": "(x) -> the same bytes in another shape",
}
INT8 = {  # what `with_int8_activations` adds; conv, depthwise, add, rectify, the pools and mean take int8 maps too
    "pixels": "(x uint8) -> q",
    "quantize": "(x) -> q, of the scale and zero point of q",
    "dequantize": "(q) -> x",
    "quantize_bias": "(bias, kernel), input_scale -> int32, in steps of input_scale times the kernel's scales",
    "bilinear_add": "(x, q): x float resized, and added to q",
}
BACKWARD = {
    "masked": "(dy, y or its bits) -> dy where the activation passes it, else 0",
    "bias_gradient": "(dy) -> the sum of every channel",
    "conv_input_gradient": "(dy, kernel)",
    "conv_kernel_gradient": "(x, dy)",
    "depthwise_input_gradient": "(dy, kernel)",
    "depthwise_kernel_gradient": "(x, dy)",
    "group_norm_gradient": "(x, gamma, dy) -> dx, dgamma, dbeta",
    "average_pool_gradient": "(dy)",
    "max_pool_gradient": "(x, dy)",
    "mean_gradient": "(dy)",
    "bilinear_gradient": "(dy)",
    "softmax_cross_entropy": "(logits, y) -> dlogits; writes loss and correct",
    "squared_error": "(prediction, y) -> dprediction; writes loss and correct",
    "update": "(gradient), variable: a step of the optimiser",
    "bias_update": "(dy, bits or None), variable -> dy where its bits are set, whose sums update the variable",
    "conv_kernel_update": "(x, dy), variable: the kernel's gradient, taken straight into it",
    "depthwise_kernel_update": "(x, dy), variable",
}
CONVOLUTIONS = ("conv", "depthwise")
ACTIVATED = ("conv", "depthwise", "group_norm")


def image(tensor: Tensor) -> tuple[int, int, int]:
    """(height, width, channels) of an activation with one row."""
    shape = tensor.shape[1:] if len(tensor.shape) == 4 else tensor.shape
    if len(shape) == 3:
        return shape
    return (math.prod(shape[:-1]), 1, shape[-1]) if shape else (1, 1, 1)


def taps(op: Op) -> int:
    """Multiply-adds for every element of a convolution's output."""
    kernel = op.inputs[1].shape
    return math.prod(kernel[1:3]) if op.kind.startswith("depthwise") else math.prod(kernel[1:])


def multiply_adds(op: Op) -> int:
    """What the convolutions cost, both ways; everything else counts for nothing."""
    if op.kind in CONVOLUTIONS:
        return op.outputs[0].size * taps(op)
    if op.kind in ("conv_input_gradient", "depthwise_input_gradient"):
        return op.inputs[0].size * taps(op)
    if op.kind.endswith(("kernel_gradient", "kernel_update")):
        return op.inputs[1].size * op.attributes["taps"]
    return 0
