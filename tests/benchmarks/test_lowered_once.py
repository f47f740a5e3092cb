"""The shared lowering: files stay what they are, and the converter runs less often."""

import keras
import pytest
from lowered_once import lowered_once

import tflite_export
from tflite_export import lowering


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((6, 5, 2)), keras.layers.Conv2D(3, 3), keras.layers.Flatten(), keras.layers.Dense(4)]
    )


def files(model, folder):
    """By optimizer and kernel set."""
    contents = {}
    for optimizer in ("sgd", "adam"):
        for kernels in ("builtin", "xnnpack"):
            path = folder / "model.tflite"
            tflite_export.export(model, path, optimizer=optimizer, kernels=kernels, verify=False)
            contents[optimizer, kernels] = path.read_bytes()
    return contents


def test_the_same_files_from_one_lowering(model, tmp_path, monkeypatch):
    expected = files(model, tmp_path)
    runs, convert = [], lowering._convert
    monkeypatch.setattr(lowering, "_convert", lambda *arguments: runs.append(1) or convert(*arguments))
    with lowered_once():
        assert files(model, tmp_path) == expected
    assert len(runs) == 2  # for training, and the stock file
    tflite_export.export(model, tmp_path / "model.tflite", verify=False)
    assert len(runs) == 4


def test_later_exports_see_changed_weights(model, tmp_path):
    with lowered_once():
        before = files(model, tmp_path)
    model.layers[-1].bias.assign([1, 2, 3, 4])
    with lowered_once():
        assert files(model, tmp_path) != before
