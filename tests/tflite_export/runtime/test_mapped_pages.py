"""Memory of a mapped file: what a model in use holds of it, from Linux's /proc."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tflite_export
import tinytl_keras
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.mapped_pages import release_pages

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/smaps")


@pytest.fixture(scope="module", params=["xnnpack", "builtin"])
def exported(request, tmp_path_factory):
    """Of a dense network, which has more than a page of weights; and the kernel set that it is for."""
    path = tmp_path_factory.mktemp("exported") / "model.tflite"
    layers = [keras.Input((64,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(3)]
    model = tinytl_keras.convert(keras.Sequential(layers), "bias")
    tflite_export.export(model, path, kernels=request.param)
    return path, request.param


@pytest.fixture
def images():
    return np.random.default_rng(0).random((1, 64), np.float32)


def resident_bytes(path) -> int:
    """Of all mappings of the file in this process."""
    lines, total, ours = Path("/proc/self/smaps").read_text().splitlines(), 0, False
    for line in lines:
        if "-" in line.split()[0]:
            ours = line.endswith(str(path))
        elif ours and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


def test_an_open_model_holds_no_page_of_its_file(exported):
    path, _ = exported
    model = OnDeviceModel(path)
    assert model.steps == 0 and resident_bytes(path) == 0


def test_released_pages_come_back_as_they_were(exported, images):
    path, kernels = exported
    model = OnDeviceModel(path)
    before = model.predict(images)
    release_pages(path)
    np.testing.assert_array_equal(model.predict(images), before)
    if kernels == "builtin":  # XNNPACK has copies of the kernels
        assert resident_bytes(path) > 0


def test_a_file_runs_with_the_kernels_that_it_is_for(exported):
    path, kernels = exported
    model = OnDeviceModel(path)
    ops = {op["op_name"] for op in model._signatures._interpreter._get_ops_details()}
    assert ("DELEGATE" in ops) == (kernels == "xnnpack")
