import pytest

from tests.tflite_export.runtime import stand_in
from tflite_export.runtime.model_file import open_model


@pytest.fixture
def path(tmp_path):
    return stand_in.write_file(tmp_path / "model.tflite")


def test_an_exported_file_opens(path):
    assert open_model(str(path)) == stand_in.INFO


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip file", b"\x1c\x00\x00\x00TFL"])
def test_foreign_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a .tflite file"):
        open_model(path)


def test_truncation_anywhere_is_a_value_error(path):
    whole = path.read_bytes()
    for length in range(8, len(whole) - 4, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"truncated or damaged|lacks|not JSON"):
            open_model(path)


def test_every_flipped_bit_is_a_value_error(path):
    whole = path.read_bytes()
    for index in range(len(whole)):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            open_model(path)


def test_a_file_without_a_checksum_is_refused(path):
    path.write_bytes(path.read_bytes().replace(b"tinytl_crc32", b"somebody_crc"))
    with pytest.raises(ValueError, match="lacks a checksum"):
        open_model(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_model(tmp_path / "none.tflite")


def test_a_file_for_inference_only_is_refused_by_what_it_lacks(tmp_path):
    path = stand_in.write_file(tmp_path / "model.tflite", signatures=("infer", "info"))
    with pytest.raises(ValueError, match=r"lacks the signatures \['train', 'save', 'restore'\]"):
        open_model(path)


def test_accumulate_and_apply_stand_for_train_together_only(tmp_path):
    others = ("infer", "save", "restore", "info")
    path = stand_in.write_file(tmp_path / "model.tflite", signatures=(*others, "accumulate", "apply"), micro_batch=2)
    assert open_model(path)["micro_batch"] == 2
    for one, missing in (("accumulate", "apply"), ("apply", "accumulate")):
        path = stand_in.write_file(tmp_path / "model.tflite", signatures=(*others, one), micro_batch=2)
        with pytest.raises(ValueError, match=rf"lacks the signatures \['{missing}'\]"):
            open_model(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2, and this runtime reads version 1"),
        ({"classes": "3"}, "unusable 'classes': '3'"),
        ({"loss": "mse"}, "loss 'mse'"),
        ({"class_names": list("abcd")}, "names 4 classes for 3 outputs"),
    ],
)
def test_an_info_that_cannot_be_used_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        open_model(stand_in.write_file(tmp_path / "model.tflite", **changes))
