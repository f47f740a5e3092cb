"""The command line on photographs, beside Keras: an ImageNet network of 0.3 width learns hand signs.

Every second picture of each class goes into a folder to train on, the others into one to be tested on. `tinytl train`,
`evaluate` and `merge` run in processes that can import neither TensorFlow nor Keras. The Keras model that was exported
trains from the same values, on the same pixels in the same batches, at the same rates.

    python benchmarks/command_line.py
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import app, flags
from ai_edge_litert.interpreter import Interpreter
from text_table import table

import tflite_export
import tinytl_keras
from tflite_export.runtime.batches import epoch_order
from tflite_export.runtime.image_folder import LabelledImages, image_files, load_image_folder

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "../shared/models/proxyless_w03_imagenet_128.keras", "The pretrained Keras model.")
flags.DEFINE_string("data", "../shared/data/sign-digits", "A folder with one folder of pictures per class.")
flags.DEFINE_string("method", "lite_residual+bias", "Of tinytl_keras.convert.")
flags.DEFINE_integer("epochs", 5, "Passes over the training half.", lower_bound=1)
flags.DEFINE_float("learning_rate", 3e-3, "Of Adam, falling by a cosine.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Of head, branches and sample order.")

BATCH, SCALE, OFFSET = 8, 1 / 127.5, -1.0  # the network was trained on pixels in [-1, 1]
WITHOUT_TENSORFLOW = """
import sys
sys.modules.update(dict.fromkeys(("tensorflow", "keras", "tf_keras", "tinytl_keras", "jax", "torch")))
from tflite_export.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = halve(Path(FLAGS.data), folder)
        keras.utils.set_random_seed(FLAGS.seed)
        model = tinytl_keras.convert(keras.models.load_model(FLAGS.model), FLAGS.method, num_classes=len(names))
        tflite_export.export(
            model, folder / "model.tflite", batch_size=BATCH, optimizer="adam", class_names=names, input_scale=SCALE,
            input_offset=OFFSET,
        )  # fmt: skip
        size = model.input_shape[1:3]
        train, test = (load_image_folder(folder / part, size) for part in ("train", "test"))
        rows = [("learned by", "right", "of", "accuracy", "seconds"), *on_the_command_line(folder, test)]
        rows.append(in_keras(model, train, test))
    print(table(rows[0], rows[1:]))


def halve(source: Path, folder: Path) -> list[str]:
    """Links to every second picture of each class in ``train``, to the others in ``test``; returns the classes."""
    files = image_files(source)
    for name, paths in files.items():
        for part, chosen in (("train", paths[::2]), ("test", paths[1::2])):
            (folder / part / name).mkdir(parents=True)
            for path in chosen:
                (folder / part / name / path.name).symlink_to(path.resolve())
    return list(files)


def tinytl(*arguments) -> str:
    """What the command prints. Raises subprocess.CalledProcessError where it fails."""
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def on_the_command_line(folder: Path, test: LabelledImages) -> list[tuple]:
    model, merged, start = folder / "model.tflite", folder / "merged.tflite", time.perf_counter()
    tinytl(
        *("train", model, folder / "train", f"--epochs={FLAGS.epochs}", f"--learning_rate={FLAGS.learning_rate}"),
        f"--seed={FLAGS.seed}",
    )
    seconds = time.perf_counter() - start
    right, count = re.search(r"(\d+) of (\d+) images", tinytl("evaluate", model, folder / "test")).groups()
    tinytl("merge", model, merged)
    return [_row("tinytl train", int(right), int(count), seconds), _row("its merged file", *of_merged(merged, test))]


def of_merged(path: Path, test: LabelledImages) -> tuple[int, int, None]:
    """How many pictures the file, which only infers, gets right."""
    infer, right = Interpreter(str(path)).get_signature_runner("infer"), 0
    for image, label in zip(test.images, test.labels):
        right += int(infer(x=scaled(image[None]))["output"].argmax() == label)
    return right, len(test.labels), None


def in_keras(model: keras.Model, train: LabelledImages, test: LabelledImages) -> tuple:
    steps = FLAGS.epochs * -(-len(train.labels) // BATCH)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    x, start = scaled(train.images), time.perf_counter()
    for epoch in range(FLAGS.epochs):
        order = epoch_order(len(x), shuffle=True, seed=FLAGS.seed, epoch=epoch)  # as OnDeviceModel.fit visits them
        model.fit(x[order], train.labels[order], batch_size=BATCH, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    answers = model.predict(scaled(test.images), verbose=0).argmax(axis=1)
    return _row("Keras", int((answers == test.labels).sum()), len(answers), seconds)


def scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) * np.float32(SCALE) + np.float32(OFFSET)


def _row(name: str, right: int, count: int, seconds: float | None) -> tuple:
    return name, str(right), str(count), f"{right / count:.2%}", "" if seconds is None else f"{seconds:.0f}"


if __name__ == "__main__":
    app.run(main)
