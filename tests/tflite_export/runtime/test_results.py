"""How results print: without what a file does not have."""

import math

import pytest

from tflite_export.runtime.results import Evaluation, OutputResult, StepResult

PART, STEP = Evaluation(0.5, 0.75, 4), OutputResult(0.5, 3, 4)


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (PART, "Evaluation(loss=0.5, accuracy=0.75, count=4)"),
        (Evaluation(0.5, math.nan, 4, 0.25), "Evaluation(loss=0.5, accuracy=nan, count=4, mean_absolute_error=0.25)"),
        (
            Evaluation(1.0, 0.75, 4, outputs={"kind": PART}),
            f"Evaluation(loss=1.0, accuracy=0.75, count=4, outputs={{'kind': {PART}}})",
        ),
        (StepResult(0.5, 3, 4, False), "StepResult(loss=0.5, correct=3, count=4, skipped=False)"),
        (
            StepResult(0.5, 3, 4, True, {"kind": STEP}),
            "StepResult(loss=0.5, correct=3, count=4, skipped=True, outputs={'kind': "
            "OutputResult(loss=0.5, correct=3, count=4)})",
        ),
    ],
)
def test_a_result_prints_what_there_is(result, text):
    assert repr(result) == str(result) == text
