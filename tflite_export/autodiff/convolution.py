"""Convolutions, as canonical gradient operators: which form is best is the runtime's business."""

from __future__ import annotations

from tflite_export.autodiff.registry import rule


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
