"""Every kernel, on the host, against TensorFlow's GradientTape and Keras's optimisers."""

import pytest

from tests.micro import bindings
from tests.micro.cases import FAMILIES
from tests.micro.goldens import FUNCTIONS


@pytest.mark.parametrize("family", FAMILIES)
def test_calls(kernels, calls, family):
    for call in calls[family]:
        bindings.call(kernels, call)


def test_every_function_has_a_golden(calls):
    called = {call.function for family in calls.values() for call in family}
    assert called == set(FUNCTIONS)
