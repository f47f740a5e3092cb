"""What a training step does to the variables, by the numpy evaluator."""

from __future__ import annotations

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Variable


def updates(step: Graph, batch: dict[str, np.ndarray], steps: int = 1) -> dict[Variable, np.ndarray]:
    """By how much `steps` steps on the same batch change every variable, in double precision."""
    state: dict[Variable, np.ndarray] = {}
    for _ in range(steps):
        evaluate(step, batch, state)
    return {variable: value - variable.initial for variable, value in state.items()}


def assert_same_updates(expected: Graph, got: Graph, batch: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    """Two steps at the batch's learning rate: the second starts from what the first has changed."""
    before, after = updates(expected, batch, 2), updates(got, batch, 2)
    assert set(after) == set(before) and before
    for variable, change in before.items():
        difference = np.linalg.norm(after[variable] - change)
        assert np.linalg.norm(change) > 1e-7, f"{variable.name} does not train"
        assert difference <= tolerance * np.linalg.norm(change), f"{variable.name} changes otherwise"
