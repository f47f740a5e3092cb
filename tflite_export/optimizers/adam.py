"""Adam."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor
from tflite_export.optimizers.base import decayed, require


@dataclasses.dataclass(frozen=True)
class Adam:
    """Adam with bias correction (Kingma and Ba, 2015), as `keras.optimizers.Adam`; decoupled weight decay (AdamW)."""

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    name: ClassVar[str] = "adam"
    slots: ClassVar[tuple[str, ...]] = ("m", "v")
    counts_steps: ClassVar[bool] = True
    zero_gradient_means_no_change: ClassVar[bool] = False

    def __post_init__(self):
        for name in ("beta_1", "beta_2"):
            require(0 < getattr(self, name) < 1, "Adam", f"{name} must lie between 0 and 1", getattr(self, name))
        require(self.epsilon > 0, "Adam", "epsilon must be positive", self.epsilon)
        require(self.weight_decay >= 0, "Adam", "weight_decay must not be negative", self.weight_decay)

    def prepare(self, b: Builder, learning_rate: Tensor, step: Tensor | None) -> Tensor:
        """``- rate sqrt(1 - beta_2^t) / (1 - beta_1^t)`` of step t, which counts from 1."""

        def correction(beta):
            return b.sub(constant(1), b.unary("EXP", b.scale(step, math.log(beta))))

        size = b.div(b.mul(learning_rate, b.unary("SQRT", correction(self.beta_2))), correction(self.beta_1))
        return b.scale(size, -1)

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
        change_m = b.scale(b.sub(gradient, slots["m"]), 1 - self.beta_1)
        change_v = b.scale(b.sub(b.mul(gradient, gradient), slots["v"]), 1 - self.beta_2)
        m, v = b.add(slots["m"], change_m), b.add(slots["v"], change_v)
        descent = b.div(b.mul(rate, m), b.add(b.unary("SQRT", v), constant(self.epsilon)))
        return {"": decayed(b, descent, value, learning_rate, self.weight_decay), "m": change_m, "v": change_v}
