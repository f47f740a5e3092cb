"""Stochastic gradient descent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor
from tflite_export.optimizers.base import decayed, require


@dataclasses.dataclass(frozen=True)
class SGD:
    """``v = momentum v - rate g``, then ``w += v``, or with Nesterov ``w += momentum v - rate g``.

    Weight decay is decoupled: ``w -= rate weight_decay w`` before that. As `keras.optimizers.SGD`.
    """

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    name: ClassVar[str] = "sgd"
    counts_steps: ClassVar[bool] = False

    def __post_init__(self):
        require(0 <= self.momentum < 1, "SGD", "momentum must lie in [0, 1)", self.momentum)
        require(self.weight_decay >= 0, "SGD", "weight_decay must not be negative", self.weight_decay)

    @property
    def slots(self) -> tuple[str, ...]:
        """What is kept for every variable, beside it."""
        return ("momentum",) if self.momentum else ()

    @property
    def zero_gradient_means_no_change(self) -> bool:
        return not self.momentum and not self.weight_decay

    def prepare(self, b: Builder, learning_rate: Tensor, step: Tensor | None) -> Tensor:
        """Minus the rate of this step."""
        return b.scale(learning_rate, -1)

    def changes(
        self,
        b: Builder,
        value: Tensor,
        slots: Mapping[str, Tensor],
        gradient: Tensor,
        rate: Tensor,
        learning_rate: Tensor,
    ) -> dict[str, Tensor]:
        """What to add to the variable (under "") and to each of its slots."""
        descent = b.mul(rate, gradient)
        if not self.momentum:
            return {"": decayed(b, descent, value, learning_rate, self.weight_decay)}
        velocity = b.add(b.scale(slots["momentum"], self.momentum), descent)
        change = {"momentum": b.sub(velocity, slots["momentum"])}
        if self.nesterov:
            velocity = b.add(b.mul(velocity, constant(self.momentum)), descent)
        change[""] = decayed(b, velocity, value, learning_rate, self.weight_decay)
        return change
