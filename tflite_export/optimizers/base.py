"""What the optimisers share."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Tensor


def decayed(b: Builder, change: Tensor, value: Tensor, learning_rate: Tensor, weight_decay: float) -> Tensor:
    """`change` with the decoupled decay ``- learning_rate weight_decay value``."""
    if not weight_decay:
        return change
    return b.sub(change, b.mul(b.scale(learning_rate, weight_decay), value))


def require(condition: bool, optimizer: str, rule: str, value) -> None:
    if not condition:
        raise ValueError(f"{optimizer}: {rule}, got {value!r}")
