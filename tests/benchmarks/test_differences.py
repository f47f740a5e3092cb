"""The measure of a training run: what it must and must not let pass."""

import numpy as np
import pytest
from differences import (
    direction_difference,
    largest,
    size_difference,
    training_differences,
    update_difference,
    worst_of,
)

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
    assert np.isnan(largest([1e-3, float("nan"), 2.0])) and largest([1e-3, 2.0, 1.0]) == 2


def test_a_direction_has_no_length_and_a_length_no_direction():
    longer = BEFORE + np.float32(1.5) * (EXPECTED - BEFORE)
    assert direction_difference(BEFORE, longer, EXPECTED) == pytest.approx(0, abs=1e-6)
    assert size_difference(BEFORE, longer, EXPECTED) == pytest.approx(0.5)
    turned = np.float32([1, 1.5, 2.5])  # (0, -0.5, -0.5) instead of (0, 0.5, -0.5)
    assert direction_difference(BEFORE, turned, EXPECTED) == pytest.approx(1)
    assert size_difference(BEFORE, turned, EXPECTED) == pytest.approx(0)


@pytest.mark.parametrize("difference", [direction_difference, size_difference])
def test_standing_still_where_keras_moves_or_moving_where_it_does_not(difference):
    assert difference(BEFORE, BEFORE, BEFORE) == 0
    assert difference(BEFORE, EXPECTED, BEFORE) == np.inf
    assert difference(BEFORE, BEFORE, EXPECTED) >= 1
    assert np.isnan(difference(BEFORE, np.float32([np.nan, 1, 1]), EXPECTED))


def test_a_weight_of_adam_is_judged_by_direction_and_size():
    before = {"dense/kernel": BEFORE, "dense/kernel/m": BEFORE, "step": np.float32([0])}
    expected = {"dense/kernel": EXPECTED, "dense/kernel/m": EXPECTED, "step": np.float32([5])}
    turned = np.float32([1, 1.5, 2.5])
    after = {"dense/kernel": turned, "dense/kernel/m": turned, "step": np.float32([4])}
    adam = training_differences("Adam", before, after, expected)
    assert adam == pytest.approx({"dense/kernel": 1, "dense/kernel/m": 2**0.5, "step": 0.2}, abs=1e-6)
    assert training_differences("SGD", before, after, expected)["dense/kernel"] == pytest.approx(2**0.5)
    with pytest.raises(KeyError):
        training_differences("SGD", before, {"dense/kernel": turned}, expected)


def test_a_wrong_rate_of_adam_is_seen_although_no_moment_shows_it():
    longer = BEFORE + np.float32(1.5) * (EXPECTED - BEFORE)
    found = training_differences("Adam", {"kernel": BEFORE}, {"kernel": longer}, {"kernel": EXPECTED})
    assert found == pytest.approx({"kernel": 0.5})
