"""Single steps, on a file that is played by a few lines of numpy."""

import numpy as np
import pytest
from keras_training import Reference
from step_by_step import RATE, step_differences


class Player:
    """Trains w by the gradient w * x, as a file would whose updates are wrong by a factor, one of `errors` a step."""

    def __init__(self, errors=(1, 1, 1)):
        self.errors, self.w = iter(errors), np.zeros(2, np.float32)

    def save(self):
        return {"w": self.w.reshape(1, 2), "kept besides": np.zeros(1, np.float32)}

    def restore(self, state):
        assert state["w"].shape == (1, 2) and "kept besides" in state
        self.w = state["w"].ravel()

    def train(self, x, y, learning_rate):
        self.w = self.w - np.float32(next(self.errors) * learning_rate) * self.w * x


@pytest.fixture
def run():
    """A run that triples w in each step, so that a first error would be nine times as large behind the third; and where
    each step leads at `RATE`."""
    states = [{"w": np.float32([1, -2]) * 3**step} for step in range(4)]
    batches = [(np.float32(-8), None)] * 3
    return Reference(batches, [0.0] * 3, states, 0.0), [{"w": (1 + 8 * np.float32(RATE)) * s["w"]} for s in states[:3]]


def test_the_same_steps_differ_by_nothing(run):
    assert step_differences(Player(), "SGD", *run) == {"w": 0}


@pytest.mark.parametrize("errors", [(1.01, 1, 1), (1, 1.01, 1), (1, 1, 1.01), (1.01, 1.005, 0.99)])
def test_a_wrong_step_counts_once(run, errors):
    assert step_differences(Player(errors), "SGD", *run) == {"w": pytest.approx(0.01, 1e-4)}


def test_a_nan_is_the_largest(run):
    assert np.isnan(step_differences(Player((1, np.nan, 1.01)), "SGD", *run)["w"])
