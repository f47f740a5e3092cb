"""Packed vectors: who is packed, what save and restore make of them, and that reading them changes nothing."""

import numpy as np
import pytest

from tflite_export import signatures
from tflite_export.accumulation import Accumulators
from tflite_export.evaluate import evaluate
from tflite_export.graph import Variable
from tflite_export.packed_variables import PackedVariable, members_of, pack_vectors, zeros_beside

RANDOM = np.random.default_rng(0)


def variable(name, *shape, dtype=np.float32) -> Variable:
    return Variable(name, RANDOM.normal(size=shape).astype(dtype))


VARIABLES = (variable("a/kernel", 3, 4), variable("a/bias", 4), variable("b/bias", 1), variable("c/gamma", 7))


def test_vectors_are_packed_and_the_rest_stays():
    packed, kernel = pack_vectors(VARIABLES)
    assert kernel is VARIABLES[0]
    assert [member.name for member in packed.members] == ["a/bias", "b/bias", "c/gamma"]
    np.testing.assert_array_equal(packed.initial, np.concatenate([v.initial for v in VARIABLES[1:]]))
    assert set(members_of((packed, kernel))) == set(VARIABLES)


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


def test_what_goes_beside_a_packed_variable_has_the_members_names():
    (packed, kernel), expected = pack_vectors(VARIABLES), ["a/bias/m", "b/bias/m", "c/gamma/m"]
    beside = zeros_beside(packed, "m")
    assert isinstance(beside, PackedVariable) and [member.name for member in beside.members] == expected
    assert beside.shape == packed.shape and not beside.initial.any()
    assert zeros_beside(kernel, "m").name == "a/kernel/m"


def test_save_and_restore_speak_of_the_members():
    stored = pack_vectors(VARIABLES)
    accumulators, state = Accumulators.of(stored), {}
    saved = evaluate(signatures.save(stored), {"request": np.zeros(1)}, state, precision="float32")
    assert {name: value.tolist() for name, value in saved.items()} == {v.name: v.initial.tolist() for v in VARIABLES}
    state = {total: np.ones(total.shape, np.float32) for total in accumulators.sums.values()}
    changed = {name: value + 1 for name, value in saved.items()}
    evaluate(signatures.restore(stored, accumulators), changed, state, precision="float32")
    again = evaluate(signatures.save(stored), {"request": np.zeros(1)}, state, precision="float32")
    assert {name: value.tolist() for name, value in again.items()} == {n: v.tolist() for n, v in changed.items()}
    assert not any(state[total].any() for total in accumulators.sums.values())
