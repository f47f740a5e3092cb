"""Convolutions, as canonical gradient operators: which form is best is the runtime's business."""

from __future__ import annotations

from tflite_export.autodiff.registry import NotDifferentiable, rule


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(b, op, gradient, wanted):
    x, kernel = op.inputs[:2]
    if wanted[1]:
        raise NotDifferentiable(
            f"layer {op.origin!r}: the kernel of a {op.kind} cannot be trained yet, only its bias. "
            "Convert the model with method 'bias' or 'last'."
        )
    attributes = {k: v for k, v in op.attributes.items() if k not in ("fused_activation_function", "depth_multiplier")}
    dx = b.op(op.kind + "_INPUT_GRADIENT", (gradient, kernel), x.shape, **attributes) if wanted[0] else None
    return dx, None, None
