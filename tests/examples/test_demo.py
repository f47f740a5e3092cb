"""The demo as a user runs it, with as little training as possible."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def demo(*arguments):
    return subprocess.run(
        [sys.executable, "examples/demo.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def folder(tmp_path):
    """Two classes of noise."""
    rng = np.random.default_rng(0)
    for name in ("cup", "plant"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(5):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{index}.png")
    return tmp_path / "data"


def test_a_folder_of_ones_own(folder, tmp_path):
    result = demo(f"--data={folder}", f"--out={tmp_path}/out", "--pretrain_epochs=1", "--epochs=1")
    assert result.returncode == 0, result.stderr
    assert "6 images of 2 classes of your own, 4 held out" in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    assert "258" in lines["last"].split()  # 128 channels x 2 classes + 2 biases
    assert "KB" in lines["bias"]
    for name in ("demo.png", "demo_last.tflite", "demo_bias.tflite", "demo_bias.safetensors"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_a_wrong_folder_is_one_line_not_a_traceback(folder, tmp_path):
    result = demo(f"--data={folder / 'cup'}", f"--out={tmp_path}/out")
    assert result.returncode == 1
    assert "demo: " in result.stderr and "at least two subfolders" in result.stderr
    assert "Traceback" not in result.stderr
