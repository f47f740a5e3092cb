"""What one release exported and saved, in Python or in Kotlin, the next one goes on with."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.examples.goldens.check import check_trained, images
from tests.examples.goldens.write_goldens import NETS, probabilities
from tflite_export.runtime import OnDeviceModel

GOLDENS = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("net", NETS)
def test_python_takes_the_same_steps_as_when_the_goldens_were_written(tmp_path, net):
    golden = GOLDENS / net
    expected = json.loads((golden / "expected.json").read_text(encoding="utf-8"))
    model = OnDeviceModel(golden / "model.tflite", golden / "start.safetensors")
    x, y = images(golden), np.array(expected["labels"])
    np.testing.assert_allclose(probabilities(model, x), expected["before"], atol=1e-5)
    found = [model.train_step(x[a:b], y[a:b], expected["rate"]) for a, b in expected["rows"]]
    np.testing.assert_allclose([step.loss for step in found], expected["losses"], rtol=1e-5)
    assert [step.correct for step in found] == expected["correct"]
    model.save(tmp_path / "state.safetensors")
    check_trained(tmp_path / "state.safetensors", golden)


@pytest.mark.parametrize("net", NETS)
def test_python_goes_on_with_what_kotlin_saved(net):
    check_trained(GOLDENS / net / "kotlin.safetensors", GOLDENS / net)


def test_the_goldens_stay_small():
    assert max(path.stat().st_size for path in GOLDENS.rglob("*")) < 50_000
