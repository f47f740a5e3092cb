"""Convolutions, as canonical gradient operators: which form is best is the runtime's business."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule
from tflite_export.geometry import explicit_padding


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(b, op, gradient, wanted):
    x, kernel = op.inputs[:2]
    attributes = {k: v for k, v in op.attributes.items() if k not in ("fused_activation_function", "depth_multiplier")}
    dx = dk = None
    if wanted[0]:
        dx = b.op(op.kind + "_INPUT_GRADIENT", (gradient, kernel), x.shape, **attributes)
    if wanted[1]:
        dk = b.op(op.kind + "_KERNEL_GRADIENT", (x, gradient), kernel.shape, **attributes)
    return dx, dk, None


@rule("TRANSPOSE_CONV")
def _transpose_convolution(b, op, gradient, wanted):
    """It is the input gradient of a convolution, whose kernel [out, height, width, in] has `in` and `out` exchanged."""
    _, kernel, x = op.inputs
    stride = (op.attributes["stride_h"], op.attributes["stride_w"])
    padding = explicit_padding(op.attributes["padding"], gradient.shape[1:3], kernel.shape[1:3], stride)
    dk = dx = None
    if wanted[1]:
        attributes = {"stride_h": stride[0], "stride_w": stride[1], "padding": padding}
        shape = (x.shape[3], *kernel.shape[1:3], gradient.shape[3])
        dk = b.transpose(b.op("CONV_2D_KERNEL_GRADIENT", (gradient, x), shape, **attributes), (3, 1, 2, 0))
    if wanted[2]:
        dx = b.conv_2d(gradient, b.transpose(kernel, (3, 1, 2, 0)), stride, padding)
    return None, dk, dx
