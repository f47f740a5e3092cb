"""Which vectors are packed."""

import numpy as np
import pytest

from tflite_export.graph import Variable
from tflite_export.packed_variables import pack_vectors

RANDOM = np.random.default_rng(0)


def variable(name, *shape, dtype=np.float32) -> Variable:
    return Variable(name, RANDOM.normal(size=shape).astype(dtype))


VARIABLES = (variable("a/kernel", 3, 4), variable("a/bias", 4), variable("b/bias", 1), variable("c/gamma", 7))


def test_vectors_are_packed_and_the_rest_stays():
    packed, kernel = pack_vectors(VARIABLES)
    assert kernel is VARIABLES[0]
    assert [member.name for member in packed.members] == ["a/bias", "b/bias", "c/gamma"]
    np.testing.assert_array_equal(packed.initial, np.concatenate([v.initial for v in VARIABLES[1:]]))
    assert set(packed.members) == set(VARIABLES[1:])


@pytest.mark.parametrize(
    "variables, apart",
    [
        (VARIABLES[:2], ()),
        (VARIABLES, ("a/bias", "b/bias")),
        ((variable("s"), variable("v", 2), variable("w", 2, dtype=np.float16)), ()),
    ],
)
def test_one_vector_alone_is_not_packed(variables, apart):
    assert pack_vectors(variables, apart) == tuple(variables)
