"""A training run step by step, each step from the state that Keras has reached.

Two runs that are left alone drift apart where a problem is ill-conditioned, though every step of both is right. Here no
step inherits what an earlier one left, so a difference is that step's own, and the rate may be as large as one likes.
"""

from __future__ import annotations

from collections.abc import Sequence

from differences import largest, training_differences
from keras_training import Reference, State
from litert import Session

RATE = 100.0  # so large that what storing a new value rounds is nothing beside its update; no step bears another's


def step_differences(
    session: Session, optimizer: str, reference: Reference, expected: Sequence[State]
) -> dict[str, float]:
    """Of every variable, the largest difference that one step's update in `session` has to Keras's.

    Args:
        expected: what each of Keras's steps at `RATE` leaves, `KerasTraining.single_steps`.
    """
    steps = []
    for (x, y), before, after in zip(reference.batches, reference.states, expected):
        saved = session.save()
        session.restore(saved | {name: value.reshape(saved[name].shape) for name, value in before.items()})
        session.train(x, y, RATE)
        steps.append(training_differences(optimizer, before, session.save(), after))
    return {name: largest(step[name] for step in steps) for name in steps[0]}
