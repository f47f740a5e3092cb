import math

import pytest

from tflite_export.runtime.schedules import as_schedule, cosine


def test_cosine_rises_falls_and_stays():
    rate = cosine(0.4, 12, warmup=2, final=0.1)
    assert [rate(0), rate(1), rate(2)] == pytest.approx([0.2, 0.4, 0.4])
    assert rate(7) == pytest.approx(0.25)  # half way between the two
    assert rate(12) == rate(1000) == pytest.approx(0.1)


@pytest.mark.parametrize("arguments", [(0.1, 5, 5), (0.1, 0, 0), (0.1, 5, -1)])
def test_cosine_refuses_a_warmup_that_does_not_fit(arguments):
    initial, steps, warmup = arguments
    with pytest.raises(ValueError, match="0 <= warmup < steps"):
        cosine(initial, steps, warmup=warmup)


def test_cosine_without_steps_takes_those_of_the_fit_and_keeps_its_own():
    open_ended, own = cosine(0.4, warmup=2, final=0.1), cosine(0.4, 6)
    bound = as_schedule(open_ended, 12)
    assert [bound(step) for step in range(14)] == [cosine(0.4, 12, warmup=2, final=0.1)(step) for step in range(14)]
    assert [as_schedule(own, 12)(step) for step in range(14)] == [own(step) for step in range(14)]
    with pytest.raises(ValueError, match=r"no number of steps.*cosine\(…, steps=…\)"):
        open_ended(0)
    with pytest.raises(ValueError, match="warmup=2, steps=2"):
        as_schedule(open_ended, 2)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 1e39, 10**400, -0.1, "fast", None])
def test_a_rate_that_would_ruin_the_variables_is_refused(rate):
    with pytest.raises(ValueError, match="finite number >= 0"):
        as_schedule(rate, 1)
    with pytest.raises(ValueError, match="finite number >= 0"):
        as_schedule(lambda step: rate, 1)(0)
