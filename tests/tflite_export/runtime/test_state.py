import os

import numpy as np
import pytest
import safetensors.numpy

from tflite_export.runtime.state import State, check_belongs, read_state, write_state

TENSORS = {"a/bias": np.array([1.5, -2.0], np.float32), "step": np.array([3], np.int32)}
EXPECTED = {"a/bias": ((2,), "float32"), "step": ((1,), "int32")}
STATE = State(TENSORS, "c0ffee", step=3, class_names=["ä", "b"], progress={"epoch": 1})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def test_everything_comes_back(path):
    write_state(path, STATE)
    state = read_state(path)
    for name, value in TENSORS.items():
        assert state.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(state.tensors[name], value)
    assert (state.fingerprint, state.step, state.class_names, state.progress) == ("c0ffee", 3, ["ä", "b"], {"epoch": 1})
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_truncated_state_is_refused(path, keep):
    write_state(path, STATE)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_state(path)


def test_a_flipped_bit_is_found(path):
    write_state(path, STATE)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="CRC-32"):
        read_state(path)


def test_other_safetensors_files_are_refused(path):
    safetensors.numpy.save_file(TENSORS, path)
    with pytest.raises(ValueError, match="not a state that OnDeviceModel.save wrote"):
        read_state(path)


def test_a_failed_write_leaves_the_old_state_and_no_temporary_file(path, monkeypatch):
    write_state(path, STATE)
    before = path.read_bytes()

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_state(path, State({}, "0", step=9))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("expected", "fingerprint", "message"),
    [
        ({**EXPECTED, "b/bias": ((1,), "float32")}, "c0ffee", "missing: b/bias"),
        ({"a/bias": ((2,), "float32")}, "c0ffee", "unknown: step"),
        ({**EXPECTED, "a/bias": ((5,), "float32")}, "c0ffee", r"a/bias: expected float32\[5\], found float32\[2\]"),
        ({**EXPECTED, "step": ((1,), "float32")}, "c0ffee", r"step: expected float32\[1\], found int32\[1\]"),
        (EXPECTED, "decaf", "from export c0ffee, this file is export decaf"),
    ],
)
def test_what_differs_from_the_model_is_named(expected, fingerprint, message):
    check_belongs(STATE, EXPECTED, "c0ffee")
    with pytest.raises(ValueError, match=message):
        check_belongs(STATE, expected, fingerprint)
