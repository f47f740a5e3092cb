"""Learning rates that change while training. A schedule is any callable from the step (0, 1, …) to a rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Schedule = Callable[[int], float]


def cosine(initial: float, steps: int, *, warmup: int = 0, final: float = 0.0) -> Schedule:
    """A rate that falls from `initial` to `final` along half a cosine in `steps` steps, after a linear warm-up.

    Args:
        initial: The highest rate, reached after `warmup` steps.
        steps: Number of steps in all, the warm-up included; after them the rate stays at `final`.
        warmup: Steps in which the rate rises from ``initial / warmup`` to `initial`.
        final: The last rate.

    Raises:
        ValueError: If a rate is negative, or `warmup` is not in [0, steps).
    """
    checked_rate(initial)
    checked_rate(final)
    if not 0 <= warmup < steps:
        raise ValueError(f"cosine needs 0 <= warmup < steps. Received: warmup={warmup}, steps={steps}")

    def rate(step: int) -> float:
        if step < warmup:
            return initial * (step + 1) / warmup
        progress = min((step - warmup) / (steps - warmup), 1.0)
        return final + (initial - final) * 0.5 * (1.0 + math.cos(math.pi * progress))

    return rate


def as_schedule(learning_rate: float | Schedule) -> Schedule:
    """A number as the schedule that never changes; a callable as it is, with every rate checked."""
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
