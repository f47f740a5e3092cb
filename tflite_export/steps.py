"""Comparisons out of arithmetic, which every runtime and delegate takes; XNNPACK has no comparison of its own.

They are exact for differences from 1e-30 on, which is less than any two floats near one differ by.
"""

from __future__ import annotations

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor

_HUGE = 1e30  # lifts any difference from 1e-30 on to 1


def sign(b: Builder, x: Tensor) -> Tensor:
    """-1.0, 0.0 or 1.0."""
    return b.unary("RELU_N1_TO_1", b.mul(x, constant(_HUGE)))


def equal(b: Builder, x: Tensor, y: Tensor) -> Tensor:
    """1.0 where `x` equals `y`, else 0.0."""
    distance = b.mul(b.unary("ABS", b.sub(y, x)), constant(_HUGE))
    return b.sub(constant(1), b.minimum(distance, constant(1)))
