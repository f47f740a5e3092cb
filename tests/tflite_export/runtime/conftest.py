import numpy as np
import pytest

from tests.tflite_export.runtime import stand_in
from tflite_export.runtime import OnDeviceModel, signatures


@pytest.fixture
def calls(monkeypatch):
    """Puts the stand-in in LiteRT's place; the list collects every run."""
    monkeypatch.setattr(stand_in.Interpreter, "calls", [], raising=False)
    monkeypatch.setattr(signatures, "Interpreter", stand_in.Interpreter)
    return stand_in.Interpreter.calls


@pytest.fixture
def make_model(tmp_path, calls):
    """A function: changes to the info -> OnDeviceModel on the stand-in."""
    return lambda **changes: OnDeviceModel(stand_in.write_file(tmp_path / "model.tflite", **changes))


@pytest.fixture
def samples():
    """x float32 [10, 4], y int [10]: the class is the largest of the first three features."""
    x = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)
    return x, x[:, :3].argmax(axis=1)
