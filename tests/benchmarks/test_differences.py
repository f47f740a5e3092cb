"""The measure of a training run: what it must and must not let pass."""

import numpy as np
import pytest
from differences import update_difference, worst_of

BEFORE = np.float32([1, 2, 3])
EXPECTED = np.float32([1, 2.5, 2.5])


def test_the_same_update_differs_by_nothing():
    assert update_difference(BEFORE, EXPECTED, EXPECTED) == 0


def test_a_missing_update_differs_by_all_of_it():
    assert update_difference(BEFORE, BEFORE, EXPECTED) == pytest.approx(1)


def test_a_rate_off_by_a_tenth_is_a_tenth():
    assert update_difference(BEFORE, BEFORE + np.float32(1.1) * (EXPECTED - BEFORE), EXPECTED) == pytest.approx(
        0.1, 1e-5
    )


def test_where_nothing_should_move_nothing_may():
    assert update_difference(BEFORE, BEFORE, BEFORE) == 0
    assert update_difference(BEFORE, EXPECTED, BEFORE) == np.inf


def test_a_nan_is_the_worst():
    assert worst_of({"small": 1e-3, "broken": float("nan"), "large": 2.0}) == "broken"
