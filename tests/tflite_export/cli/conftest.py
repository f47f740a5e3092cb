"""A small exported file and folders of images, and the command line in processes of their own, without TensorFlow."""

import importlib
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tflite_export.cli import main

ROOT = Path(__file__).parents[3]
NAMES = ["red", "green"]  # two more outputs are spare
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200), "grey": (120, 120, 120)}
BLOCKED = ("tensorflow", "keras", "tf_keras", "matplotlib", "sklearn", "tinytl_keras", "jax", "torch")
WITHOUT_TENSORFLOW = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED}:
            raise ImportError(f"{{name}} is blocked")
sys.meta_path.insert(0, Blocked())
from tflite_export.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def command(*arguments):
    return [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, arguments)]


def tinytl(*arguments, **options):
    """The command line in a process that can import nothing of `BLOCKED`."""
    return subprocess.run(command(*arguments), cwd=ROOT, capture_output=True, text=True, **options)


def write_images(folder, names, count, seed=0):
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.clip(np.array(COLOURS[name]) + rng.normal(0, 60, (12, 10, 3)), 0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index}.png")
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    import keras
    from keras import layers

    import tflite_export

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, 2, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(4, name="head")(x))
    path = tmp_path_factory.mktemp("exported") / "model.tflite"
    tflite_export.export(
        model, path, batch_size=4, class_names=NAMES, optimizer=tflite_export.Adam(weight_decay=0.01),
        input_scale=1 / 127.5, input_offset=-1.0, verify=False,
    )  # fmt: skip
    return path.read_bytes()


@pytest.fixture
def model(exported, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(exported)
    return path


@pytest.fixture
def photos(tmp_path):
    """Seven images of each of three classes, one of which the file does not know."""
    return write_images(tmp_path / "photos", ("red", "green", "blue"), 7)


@pytest.fixture
def in_process(capsys):
    """A function: arguments -> exit status, stdout, stderr. Every flag has its default again before each run."""

    def run(verb, *arguments):
        values = importlib.import_module(f"tflite_export.cli.{verb.replace('-', '_')}").FLAGS
        values.unparse_flags()
        for name in values:
            values[name].unparse()
        status = main.main([verb, *map(str, arguments)])
        return status, *capsys.readouterr()

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)
