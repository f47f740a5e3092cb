"""The training run as a user starts it, on a few small images."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import tinytl_keras  # registers the layers of the checkpoints
from tflite_export.runtime import OnDeviceModel

ROOT = Path(__file__).parents[2]
KILLED = """
import sys
sys.path.insert(0, "examples")
import finetune
from absl import app

def killed(self, epoch, logs=None, write=finetune.Recorder.on_epoch_end):
    write(self, epoch, logs)
    raise SystemExit("killed after the first epoch")

finetune.Recorder.on_epoch_end = killed
app.run(finetune.main)
"""
MISTAKES = """
import json, sys
sys.path.insert(0, "examples")
import finetune
from absl.testing import flagsaver

folder, mistakes = sys.argv[1], json.loads(sys.argv[2])
finetune.FLAGS(["finetune"])
defaults = {name: finetune.FLAGS[name].value for name in finetune.SETTINGS}
open(f"{folder}/settings.json", "w").write(json.dumps(defaults))
for arguments in mistakes:
    with flagsaver.flagsaver(out=f"{folder}/new"):
        finetune.FLAGS(["finetune", *arguments])
        try:
            finetune.main(["finetune"])
        except SystemExit as error:
            print(error)
"""


def finetune(*arguments, script=("examples/finetune.py",)):
    return subprocess.run(
        [sys.executable, *script, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """Three classes of noise, and a network of one inverted residual block."""
    path = tmp_path_factory.mktemp("finetune")
    rng = np.random.default_rng(0)
    for name in ("cup", "keys", "plant"):
        (path / "images" / name).mkdir(parents=True)
        for index in range(6):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(path / "images" / name / f"{index}.png")
    inputs = keras.Input((32, 32, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(inputs))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(16, 1, use_bias=False)(x)))
    y = layers.ReLU(6.0)(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)))
    y = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(y))
    keras.Model(inputs, layers.GlobalAveragePooling2D()(layers.Add()([x, y]))).save(path / "small.keras")
    return (f"--dataset={path}/images", f"--model={path}/small.keras", "--image_size=32", "--epochs=2")


def rows(out):
    with (out / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_that_was_killed_goes_on_as_if_it_had_not(arguments, tmp_path):
    whole, halves, file = tmp_path / "whole", tmp_path / "halves", tmp_path / "model.tflite"
    result = finetune(*arguments, f"--out={whole}", f"--export={file}")
    assert result.returncode == 0, result.stderr
    assert "3 classes, 12 training and 6 test images" in result.stdout
    assert "learning rate 0.0002, label smoothing 0.1, epochs 1 to 2" in result.stdout
    assert "update's distance to Keras's" in result.stdout
    on_device = OnDeviceModel(file).info
    assert on_device["optimizer"]["name"] == "adam" and on_device["label_smoothing"] == pytest.approx(0.1)
    assert on_device["optimizer"]["epsilon"] == 1e-8

    result = finetune(*arguments, f"--out={halves}", script=("-c", KILLED))
    assert "killed after the first epoch" in result.stderr
    assert [row["epoch"] for row in rows(halves)] == ["1"]
    with (halves / "metrics.csv").open("a") as csv_file:
        csv_file.write("2,0,0,0,0,0,0\n")  # of an epoch whose checkpoint was never written
    result = finetune(*arguments, f"--out={halves}", "--resume")
    assert result.returncode == 0, result.stderr
    assert "epochs 2 to 2" in result.stdout

    first, second = ([{**row, "seconds": None} for row in rows(out)] for out in (whole, halves))
    assert first == second and [row["epoch"] for row in first] == ["1", "2"]
    assert [float(row["learning_rate"]) for row in first] == [2e-4, 1e-4]
    assert all(0 < float(row[name]) < 3 for row in first for name in ("loss", "test_loss"))
    one, two = (keras.models.load_model(out / "checkpoint.keras") for out in (whole, halves))
    assert tinytl_keras.summary(one).trainable_parameters == tinytl_keras.summary(two).trainable_parameters
    for a, b in zip(one.weights + one.optimizer.variables, two.weights + two.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    assert int(two.optimizer.iterations) == 4

    assert json.loads((whole / "settings.json").read_text())["batch_size"] == 8


def test_the_mirrored_strategy(arguments, tmp_path):
    result = finetune(*arguments, "--epochs=1", f"--out={tmp_path}/out", "--strategy=mirrored", "--method=bias")
    assert result.returncode == 0, result.stderr
    assert len(rows(tmp_path / "out")) == 1


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "checkpoint.keras").touch()
    settings = {"--batch_size": 4, "--method": "bias"}
    mistakes = {
        "--model must be proxyless_mobile, a .keras file or one of ConvNeXtBase": ["--model=MobileNetV9"],
        "ResNet50 treats its channels differently": ["--model=ResNet50", "--export=m.tflite"],
        "--resume: there is no": ["--resume"],
        "no data set 'cars195'. Did you mean cars196": ["--dataset=tfds:cars195"],
        "go on with it by --resume, or give another --out": [f"--out={tmp_path}"],
        "--method=lite_residual+bias then, bias now; --batch_size=8 then, 4 now": [
            *(f"{name}={value}" for name, value in settings.items()),
            *(f"--out={tmp_path}", "--resume"),
        ],
    }
    result = finetune(tmp_path, json.dumps(list(mistakes.values())), script=("-c", MISTAKES))
    assert result.returncode == 0, result.stderr
    for message, line in zip(mistakes, result.stdout.splitlines(), strict=True):
        assert line.startswith("finetune: ") and message in line
