"""A training run step by step, each step from the state that Keras has reached.

Two runs that are left alone drift apart where a problem is ill-conditioned, though every step of both is right. Here no
step inherits what an earlier one left, so a difference is that step's own.
"""

from __future__ import annotations

import itertools

from differences import largest, training_differences
from keras_training import Reference
from litert import Session


def step_differences(session: Session, optimizer: str, learning_rate: float, reference: Reference) -> dict[str, float]:
    """Of every variable, the largest difference that one step's update in `session` has to Keras's."""
    steps = []
    for (x, y), (before, expected) in zip(reference.batches, itertools.pairwise(reference.states), strict=True):
        saved = session.save()
        session.restore(saved | {name: value.reshape(saved[name].shape) for name, value in before.items()})
        session.train(x, y, learning_rate)
        steps.append(training_differences(optimizer, before, session.save(), expected))
    return {name: largest(step[name] for step in steps) for name in steps[0]}
