"""Learning rates that change while training. A schedule is any callable from the step (0, 1, …) to a rate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

Schedule = Callable[[int], float]


def cosine(initial: float, steps: int | None = None, *, warmup: int = 0, final: float = 0.0) -> Cosine:
    """A rate that falls from `initial` to `final` along half a cosine in `steps` steps, after a linear warm-up.

    Args:
        initial: The highest rate, reached after `warmup` steps.
        steps: Number of steps in all, the warm-up included; after them the rate stays at `final`, and where that is 0
            nothing is learned any more. None: all the steps of the `fit` that it is passed to, epochs × batches.
        warmup: Steps in which the rate rises from ``initial / warmup`` to `initial`.
        final: The last rate.

    Raises:
        ValueError: If a rate is negative, or `warmup` is not in [0, steps); without `steps`, `fit` raises the latter.
    """
    return Cosine(checked_rate(initial), steps, warmup, checked_rate(final))


@dataclasses.dataclass(frozen=True)
class Cosine:
    """What `cosine` returns: a schedule as soon as `steps` is known."""

    initial: float
    steps: int | None
    warmup: int
    final: float

    def __post_init__(self):
        if self.warmup < 0 or (self.steps is not None and self.warmup >= self.steps):
            raise ValueError(f"cosine needs 0 <= warmup < steps. Received: warmup={self.warmup}, steps={self.steps}")

    def over(self, steps: int) -> Cosine:
        """The same, in `steps` steps if no number was given."""
        return self if self.steps is not None else dataclasses.replace(self, steps=steps)

    def __call__(self, step: int) -> float:
        if self.steps is None:
            raise ValueError("cosine has no number of steps, which only fit fills in. Name it: cosine(…, steps=…).")
        if step < self.warmup:
            return self.initial * (step + 1) / self.warmup
        progress = min((step - self.warmup) / (self.steps - self.warmup), 1.0)
        return self.final + (self.initial - self.final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def as_schedule(learning_rate: float | Schedule, steps: int) -> Schedule:
    """A number as the schedule that never changes; a callable as it is, with every rate checked.

    Args:
        learning_rate: A number, or a callable from the step to a number.
        steps: What a cosine without a number of steps of its own takes.
    """
    if isinstance(learning_rate, Cosine):
        learning_rate = learning_rate.over(steps)
    if callable(learning_rate):
        return lambda step: checked_rate(learning_rate(step))
    constant = checked_rate(learning_rate)
    return lambda step: constant


def checked_rate(rate: float) -> float:
    """`rate` as a float.

    Raises:
        ValueError: If it is not a number >= 0 and finite as float32, which the graph takes: one such step would ruin
            every trained variable.
    """
    try:
        value = float(rate)
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.float32(value))
    if not finite or value < 0:
        raise ValueError(f"A learning rate must be a finite number >= 0, as float32. Received: {rate!r}")
    return value
