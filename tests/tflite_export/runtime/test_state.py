import json
import os

import numpy as np
import pytest
import safetensors.numpy

from tflite_export import checksum
from tflite_export.runtime.progress import Progress, Totals
from tflite_export.runtime.state import State, check_belongs, merged_class_names, read_state, write_state

TENSORS = {"a/bias": np.array([1.5, -2.0], np.float32), "step": np.array([3], np.int32)}
EXPECTED = {"a/bias": ((2,), "float32"), "step": ((1,), "int32")}
PROGRESS = Progress(10, 4, True, 7, epoch=2, position=1, totals=Totals(1.5, 2, 4, 0))
STATE = State(TENSORS, "c0ffee", step=3, class_names=["ä", "b"], progress=PROGRESS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.safetensors"


def test_everything_comes_back(path):
    write_state(path, STATE)
    state = read_state(path)
    for name, value in TENSORS.items():
        assert state.tensors[name].dtype == value.dtype
        np.testing.assert_array_equal(state.tensors[name], value)
    assert (state.fingerprint, state.step, state.class_names, state.progress) == ("c0ffee", 3, ["ä", "b"], PROGRESS)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["new.tflite", "new.TFLITE", "model.bin", "link"])
def test_a_tflite_file_is_never_written_over(tmp_path, name):
    """By its suffix, or by what stands there."""
    (tmp_path / "model.bin").write_bytes(b"\x1c\x00\x00\x00TFL3 and more")
    (tmp_path / "link").symlink_to(tmp_path / "model.bin")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match=rf"{name} is a .tflite file.*Nothing was written. Name another.*safetensors"):
        write_state(str(tmp_path / name), STATE)
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "model.bin").read_bytes().endswith(b"TFL3 and more")


def test_a_missing_folder_is_named_and_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"^There is no folder {tmp_path}/none to save state in. Create it"):
        write_state(tmp_path / "none" / "state", STATE)
    with pytest.raises(IsADirectoryError, match=rf"^{tmp_path} is a folder. Name a file in it"):
        write_state(tmp_path, STATE)


@pytest.mark.parametrize("keep", [0, 4, 20, -1])
def test_a_truncated_state_is_refused(path, keep):
    write_state(path, STATE)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="truncated or damaged|not a complete safetensors file"):
        read_state(path)


def test_every_flipped_bit_is_found(path):
    """In the header, the metadata and the tensors alike."""
    write_state(path, STATE)
    content = path.read_bytes()
    for index in range(len(content)):
        damaged = bytearray(content)
        damaged[index] ^= 1 << index % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            read_state(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "three"),
        ("step", "-1"),
        ("class_names", "[1]"),
        ("class_names", "{"),
        ("progress", "[]"),
        ("progress", json.dumps({**PROGRESS.as_json(), "batch_size": 0})),
        ("progress", json.dumps({**PROGRESS.as_json(), "position": 4})),
        ("progress", json.dumps({**PROGRESS.as_json(), "epoch": None})),
        ("progress", json.dumps({"epoch": 1})),
    ],
)
def test_metadata_that_cannot_be_used_is_refused_even_under_a_right_checksum(path, name, value):
    write_state(path, STATE)
    with safetensors.safe_open(path, "numpy") as file:
        metadata = {**file.metadata(), "crc32": checksum.PLACEHOLDER.decode(), name: value}
    path.write_bytes(checksum.seal(safetensors.numpy.save(TENSORS, metadata)))
    with pytest.raises(ValueError, match=rf"{path} holds metadata that this runtime cannot use"):
        read_state(path)
    del metadata[name]
    path.write_bytes(checksum.seal(safetensors.numpy.save(TENSORS, metadata)))
    with pytest.raises(ValueError, match=f"KeyError: '{name}'"):
        read_state(path)


@pytest.mark.parametrize(
    ("of_file", "of_state", "merged"),
    [
        (["a"], ["a", "b"], ["a", "b"]),
        (["a", "b"], ["a"], ["a", "b"]),
        (["a"], None, ["a"]),
        (None, ["a"], None),
        (None, None, None),
    ],
)
def test_the_files_class_names_stay_and_those_added_come_back(of_file, of_state, merged):
    assert merged_class_names(of_file, of_state, 3) == merged


@pytest.mark.parametrize("of_state", [["b", "a"], ["a", "c"], ["a", "b", "c", "d"]])
def test_a_state_that_names_the_classes_differently_is_refused(of_state):
    with pytest.raises(ValueError) as error:
        merged_class_names(["a", "b"], of_state, 3)
    assert "['a', 'b']" in str(error.value) and str(of_state) in str(error.value)


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
