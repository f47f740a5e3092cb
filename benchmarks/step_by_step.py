"""A training run step by step, each step from the state that Keras has reached.

Two runs that are left alone drift apart where a problem is ill-conditioned, though every step of both is right. Here no
step inherits what an earlier one left, so a difference is that step's own, and the rate may be as large as one likes.

A ReLU's input that is within rounding of its kink can still go either way, and of millions there is one in most batches
of a large network. What is wrong in a file is wrong on other images as well. So a step beyond the mark is taken again
on other batches, from the same state, and the nearest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from differences import largest, training_differences
from keras_training import Reference, State
from litert import Session

RATE = 100.0  # so large that what storing a new value rounds is nothing beside its update; no step bears another's
_BATCHES = 4


def step_differences(
    session: Session,
    optimizer: str,
    reference: Reference,
    expected: Sequence[State],
    another: Callable[[State], tuple[tuple, State]],
    tolerance: float,
) -> dict[str, float]:
    """Of every variable, the largest difference that one step's update in `session` has to Keras's.

    Args:
        expected: what each of Keras's steps at `RATE` leaves, `KerasTraining.single_steps`.
        another: another batch, and what Keras's step on it leaves from this state.
        tolerance: a step that is further away is taken again.
    """

    def differences(batch: tuple, before: State, after: State) -> dict[str, float]:
        saved = session.save()
        session.restore(saved | {name: value.reshape(saved[name].shape) for name, value in before.items()})
        session.train(*batch, RATE)
        return training_differences(optimizer, before, session.save(), after)

    steps = []
    for (batch, before), after in zip(reference.starts, expected, strict=True):
        tried = [differences(batch, before, after)]
        while len(tried) < _BATCHES and not largest(tried[-1].values()) <= tolerance:
            batch, after = another(before)
            tried.append(differences(batch, before, after))
        steps.append(min(tried, key=_size))
    return {name: largest(step[name] for step in steps) for name in steps[0]}


def _size(differences: dict[str, float]) -> float:
    worst = largest(differences.values())
    return worst if worst == worst else float("inf")
