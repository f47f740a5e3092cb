"""Gradients of TFLite's builtin operators, one rule per operator, by family."""

from tflite_export.autodiff import (  # noqa: F401
    activation,
    convolution,
    elementwise,
    gather,
    matrix,
    pooling,
    reduction,
    resize,
    shape,
)
from tflite_export.autodiff.engine import differentiate
from tflite_export.autodiff.registry import RULES, NotDifferentiable

__all__ = ["RULES", "NotDifferentiable", "differentiate"]
