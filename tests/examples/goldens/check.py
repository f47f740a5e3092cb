"""Compares with what write_goldens wrote."""

import json
from pathlib import Path

import numpy as np

from tests.examples.goldens.write_goldens import probabilities
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import read_state


def check_trained(state: Path, golden: Path) -> None:
    """`state`, saved by another language after the steps from ``start.safetensors``, is what Python trained.

    Args:
        state: A state file.
        golden: The folder of the net that was trained.
    """
    start, expected, found = (read_state(path).tensors for path in (*_both(golden), state))
    assert found.keys() == expected.keys()
    for name in expected:
        update = np.linalg.norm(expected[name] - start[name])
        assert update > 0, name
        assert np.linalg.norm(found[name] - expected[name]) / update < 1e-4, name

    facts = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    model = OnDeviceModel(golden / "model.tflite", state)
    assert (model.class_names, model.steps) == (facts["class_names"], facts["steps"])
    np.testing.assert_allclose(probabilities(model, images(golden)), facts["after"], atol=1e-5)


def images(golden: Path) -> np.ndarray:
    """uint8 [8, 8, 8, 3]."""
    return np.fromfile(golden / "images.bin", np.uint8).reshape(-1, 8, 8, 3)


def _both(golden: Path) -> tuple[Path, Path]:
    return golden / "start.safetensors", golden / "trained.safetensors"
