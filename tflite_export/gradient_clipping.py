"""Clipping by the norm of all gradients together, as Keras's ``global_clipnorm``."""

from __future__ import annotations

from collections.abc import Iterable

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor


def squared_norm(b: Builder, tensors: Iterable[Tensor]) -> Tensor:
    """float32 [1]: the sum of the squares of everything in `tensors`."""
    # Not MUL(x, x): XNNPACK, as of LiteRT 2.3, ends the process where both operands are one variable.
    squares = [b.reshape(b.sum(b.unary("SQUARE", x), range(len(x.shape))), (1,)) for x in tensors]
    total = squares[0]
    for square in squares[1:]:
        total = b.add(total, square)
    return total


def clip_factor(b: Builder, norm: Tensor, clip_norm: float) -> Tensor:
    """What shortens a gradient of this norm, float32 [1], to `clip_norm`, and leaves a shorter one as it is."""
    return b.div(constant(clip_norm), b.maximum(norm, constant(clip_norm)))
