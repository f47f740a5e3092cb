"""Former states that stand beside the newest, and what a damaged newest one is replaced by."""

import os
import threading

import numpy as np
import pytest

from tflite_export import atomic
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import State, former_path, read_latest_state, read_state, write_state


def state(step):
    return State({"head/bias": np.full(3, step, np.float32)}, "c0ffee", step)


def write(path, steps, keep):
    for step in steps:
        write_state(path, state(step), keep)


def steps_on_disk(path):
    found = {age: former_path(path, age) for age in range(1, 9)}
    return [read_state(path).step, *(read_state(file).step for file in found.values() if file.exists())]


@pytest.mark.parametrize(("keep", "expected"), [(1, [5]), (2, [5, 4]), (3, [5, 4, 3]), (9, [5, 4, 3, 2, 1])])
def test_as_many_states_stand_on_the_disk_as_asked_for(tmp_path, keep, expected):
    path = tmp_path / "state.safetensors"
    write(path, range(1, 6), keep)
    assert steps_on_disk(path) == expected
    assert len(list(tmp_path.iterdir())) == len(expected)
    if keep == 3:
        assert {file.name for file in tmp_path.iterdir()} == {
            "state.safetensors",
            "state.1.safetensors",
            "state.2.safetensors",
        }


def test_processes_that_save_at_the_same_time_damage_nothing(tmp_path):
    path, errors = tmp_path / "state.safetensors", []

    def save(first):
        try:
            write(path, range(first, first + 100), keep=4)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=[first]) for first in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {step % 1000 for step in steps_on_disk(path)[:1]} == {99}
    assert {file.name for file in tmp_path.iterdir()} <= {
        path.name,
        *(former_path(path, age).name for age in (1, 2, 3)),
    }


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_the_newest_good_one_is_read_and_every_damage_is_named(tmp_path, damaged):
    path = tmp_path / "state.safetensors"
    write(path, (1, 2, 3, 4), keep=4)
    for file in (path, former_path(path, 1))[:damaged]:
        file.write_bytes(file.read_bytes()[:-3])
    found, damage = read_latest_state(path)
    assert found.step == 4 - damaged
    if damaged:
        assert str(path) in damage and f"Taken instead: {former_path(path, damaged)}, of step {4 - damaged}." in damage
    else:
        assert damage is None


def test_a_former_one_may_be_missing_where_a_write_was_cut(tmp_path):
    path = tmp_path / "state.safetensors"
    write(path, (1, 2, 3), keep=3)
    former_path(path, 1).unlink()
    path.write_bytes(b"")
    assert read_latest_state(path)[0].step == 1


def test_a_damaged_state_does_not_push_out_a_good_one(tmp_path):
    path = tmp_path / "state.safetensors"
    write(path, (1, 2), keep=2)
    path.write_bytes(path.read_bytes()[:-1])
    write_state(path, state(3), keep=2)
    assert steps_on_disk(path) == [3, 1]


def test_nothing_good_is_the_first_ones_error_and_nothing_at_all_is_missing(tmp_path):
    path = tmp_path / "state.safetensors"
    write(path, (1, 2), keep=2)
    for file in tmp_path.iterdir():
        file.write_bytes(b"?")
    with pytest.raises(ValueError, match=f"^{path} is"):
        read_latest_state(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):  # whoever deletes a state wants to begin again
        read_latest_state(path)


@pytest.mark.parametrize("keep", [0, True, "2"])
def test_a_wrong_number_is_refused_and_nothing_written(tmp_path, keep):
    with pytest.raises((TypeError, ValueError), match="keep must be"):
        write_state(tmp_path / "state", state(1), keep)
    assert list(tmp_path.iterdir()) == []


def test_a_model_restores_the_former_one_with_a_warning(make_model, samples, tmp_path):
    path, model = tmp_path / "state.safetensors", make_model()
    biases = []
    for _ in range(2):
        model.train_step(samples[0][:4], samples[1][:4], 0.5)
        model.save(path, keep=2)
        biases.append(model._signatures.save()["head/bias"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"state.safetensors is .*Taken instead: .*state.1.safetensors") as caught:
        again = OnDeviceModel(tmp_path / "model.tflite", state=path)
    assert caught[0].filename == __file__
    assert again.steps == 1
    np.testing.assert_array_equal(again._signatures.save()["head/bias"], biases[0])


def test_what_a_killed_process_left_is_removed_once_it_is_old_and_nothing_else_is(tmp_path):
    path = tmp_path / "state.safetensors"
    names = [".state.safetensors.abcd_123", ".state.safetensors.new_1234", ".state.safetensors.mine", ".other.abcd_123"]
    for name in names:
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (1, 1))
    os.utime(tmp_path / names[1])  # being written by another process
    atomic.write_atomically(path, b"whole")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*names[1:], path.name])
