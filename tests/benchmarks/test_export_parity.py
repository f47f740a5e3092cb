"""What counts as what in the parity table."""

import dataclasses

import export_parity
import numpy as np
import pytest
from absl.testing import flagsaver
from export_parity import BY_STEP, FAIL, PASS, Row
from parity_cases import MICRO, Case

CASE = Case("plain CNN", "bias", 1, "SGD", "builtin")
MARK = 1e-3


@pytest.fixture(autouse=True)
def flags():
    export_parity.FLAGS(["export_parity"])
    with flagsaver.flagsaver(tolerance=MARK, loss_tolerance=1e-5):
        yield


def row(worst, step, sensitivity, resumed_equal=True, case=CASE):
    steps = {} if case.kernels == MICRO else {"a": 0.0, "b": step}
    return Row(case, {"a": 0.0, "b": worst}, steps, sensitivity, 0.0, resumed_equal, 0.0)


@pytest.mark.parametrize(
    ("worst", "step", "verdict"),
    [
        (0.9 * MARK, 0.0, PASS),
        (5 * MARK, 0.9 * MARK, BY_STEP),
        (5 * MARK, 1.1 * MARK, FAIL),
        (5 * MARK, np.nan, FAIL),
        (np.nan, np.nan, FAIL),
    ],
)
@pytest.mark.parametrize("sensitivity", [0.0, 6 * MARK])
def test_verdicts_whatever_noise_does_to_keras(worst, step, sensitivity, verdict):
    assert row(worst, step, sensitivity).verdict == verdict


def test_a_run_that_does_not_resume_fails_whatever_its_differences():
    assert row(0.0, 0.0, 0.0, resumed_equal=False).verdict == FAIL


def test_noise_is_no_excuse_in_tflite_micro():
    micro = dataclasses.replace(CASE, kernels=MICRO)
    assert row(0.9e-5, None, 0.0, None, micro).verdict == PASS
    assert row(2e-5, None, 1.0, None, micro).verdict == FAIL


def test_a_row_of_the_report():
    lines = export_parity.report([row(5 * MARK, 0.9 * MARK, 6 * MARK)]).splitlines()
    assert lines[0].split()[:8] == ["network", "method", "optimizer", "kernels", "batch", "worst", "median", "a"]
    assert "5.0e-03  2.5e-03  9.0e-04  6e-03" in lines[2] and BY_STEP in lines[2]
