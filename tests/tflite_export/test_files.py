"""A file that is not there: which, what it should be, what to do."""

import pytest

import tflite_export
from tflite_export.files import read_file
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import read_state

MODEL = "There is no file .*nope.tflite; expected a .tflite file that trains. .*tinytl export"
STATE = "There is no file .*nope.safetensors; expected what a model has learned. OnDeviceModel.save"
FILE = "There is no file .*nope.tflite; expected a .tflite file that infers. .*TFLiteConverter"


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda folder: OnDeviceModel(folder / "nope.tflite"), MODEL),
        (lambda folder: read_state(folder / "nope.safetensors"), STATE),
        (lambda folder: tflite_export.merge(folder / "nope.tflite", {}, folder / "merged.tflite"), MODEL),
        (lambda folder: tflite_export.make_trainable(folder / "nope.tflite", folder / "new.tflite"), FILE),
    ],
)
def test_a_missing_file_is_described(read, message, tmp_path):
    with pytest.raises(FileNotFoundError, match=message) as refused:
        read(tmp_path)
    assert "Errno" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_read(tmp_path):
    (tmp_path / "some").write_bytes(b"content")
    assert read_file(tmp_path / "some", "anything", "Write it.") == b"content"
