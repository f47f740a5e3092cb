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


def another(state):
    """Another batch of the same kind."""
    return (np.float32(-4), None), {"w": (1 + 4 * np.float32(RATE)) * state["w"]}


def differences(errors, run):
    return step_differences(Player(errors), "SGD", *run, another, 1e-3)


def test_the_same_steps_differ_by_nothing(run):
    assert differences((1, 1, 1), run) == {"w": 0}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_step_that_is_always_wrong_counts_once_and_at_its_best(place, run):
    errors = [1, 1, 1]
    errors[place : place + 1] = [1.03, 1.02, 1.01, 1.02]
    assert differences(errors, run) == {"w": pytest.approx(0.01, 1e-4)}


@pytest.mark.parametrize("errors", [(1.01, 1, 1, 1), (1, 1, 1.01, 1.02, 1), (1, np.nan, 1, 1)])
def test_a_step_that_is_right_on_another_batch_is_right(errors, run):
    assert differences(errors, run) == {"w": 0}


def test_a_nan_is_the_largest(run):
    assert np.isnan(differences((1, *[np.nan] * 4, 1), run)["w"])
