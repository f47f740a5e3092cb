"""What save and restore make of packed variables and of parts, and what goes beside them."""

import numpy as np

from tflite_export import signatures
from tflite_export.accumulation import Accumulators
from tflite_export.evaluate import evaluate
from tflite_export.graph import Variable
from tflite_export.memory_budget import arena_bytes
from tflite_export.optimizers import Adam
from tflite_export.packed_variables import PackedVariable, pack_vectors
from tflite_export.part_variables import Division, PartVariable, in_parts
from tflite_export.stored_variables import shapes_by_name, zeros_beside
from tflite_export.updates import OptimizerState

RANDOM = np.random.default_rng(0)


def variable(name, *shape) -> Variable:
    return Variable(name, RANDOM.normal(size=shape).astype(np.float32))


VECTORS = (variable("a/bias", 4), variable("b/bias", 1), variable("c/gamma", 7))
KERAS, LITERT = variable("a/kernel", 3, 3, 96, 192), variable("b/kernel", 192, 3, 3, 96)
DENSE = variable("dense/kernel", 1200, 101)
VARIABLES = (*VECTORS, KERAS, LITERT, DENSE, variable("head/kernel", 3, 4))


def as_stored() -> tuple[Variable, ...]:
    return in_parts(
        pack_vectors(VARIABLES), {KERAS: Division(3, (2,)), LITERT: Division(0, (3,)), DENSE: Division(1, (2,))}
    )


def test_what_goes_beside_a_stored_variable_is_stored_as_it_is():
    packed, a0, a1, b0, *_, kernel = as_stored()
    beside = zeros_beside(packed, "m")
    assert isinstance(beside, PackedVariable) and not beside.initial.any()
    assert [member.name for member in beside.members] == ["a/bias/m", "b/bias/m", "c/gamma/m"]
    parts = [zeros_beside(part, "m") for part in (a0, a1)]
    assert all(isinstance(part, PartVariable) and part.shape == (3, 3, 96, 96) for part in parts)
    assert [part.whole for part in parts] == ["a/kernel/m"] * 2 and parts[0].name != parts[1].name
    assert zeros_beside(b0, "m").axis == 0
    assert zeros_beside(kernel, "m").name == "head/kernel/m"


def test_save_and_restore_speak_of_every_variable_and_slot_as_a_whole():
    stored = as_stored()
    variables = (*stored, *OptimizerState.of(Adam(), stored).variables)
    accumulators, values = Accumulators.of(stored), {}
    request = {"request": np.zeros(1)}
    saved = evaluate(signatures.save(variables), request, values, precision="float32")
    expected = {v.name for v in VARIABLES} | {f"{v.name}/{slot}" for v in VARIABLES for slot in "mv"} | {"step"}
    assert saved.keys() == shapes_by_name(variables).keys() == expected
    for v in VARIABLES:
        np.testing.assert_array_equal(saved[v.name], v.initial)
        assert saved[f"{v.name}/m"].shape == v.shape
    values = {total: np.ones(total.shape, np.float32) for total in accumulators.sums.values()}
    changed = {name: RANDOM.normal(size=value.shape).astype(np.float32) for name, value in saved.items()}
    evaluate(signatures.restore(variables, accumulators), changed, values, precision="float32")
    assert not any(values[total].any() for total in accumulators.sums.values())
    again = evaluate(signatures.save(variables), request, values, precision="float32")
    for name, value in changed.items():
        np.testing.assert_array_equal(again[name], value, err_msg=name)


def test_restore_holds_no_more_than_one_part_beside_what_it_is_given():
    large = variable("dense/kernel", 1200, 1000)
    parts = in_parts((large,), {large: Division(1, (10,))})
    assert len(parts) == 10
    needed = arena_bytes(signatures.restore(parts), "builtin")
    assert needed < large.initial.nbytes + 2 * parts[0].initial.nbytes
