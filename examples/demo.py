"""A frozen network learns new classes inside its .tflite file.

1. A small MobileNetV2 is pretrained in Keras, on handwritten digits.
2. `tinytl_keras.convert` freezes it and gives it a new head; `tflite_export.export` compiles the training step.
3. The exported file, run by LiteRT alone, learns classes that the network has never seen.

Run it by `make demo`, or on a folder of your own images with one subfolder per class by `make demo DATA=folder/`.
"""

from __future__ import annotations

import dataclasses
import logging as python_logging
import math
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import digits
import numpy as np
from absl import app, flags, logging
from picture import save_picture
from quiet import quiet_stderr

import tflite_export
from tflite_export.runtime import OnDeviceModel, cosine
from tflite_export.runtime.image_folder import LabelledImages, load_image_folder, save_image_folder

FLAGS = flags.FLAGS
flags.DEFINE_string("data", None, "Folder of images with one subfolder per class; None: scikit-learn's digits 5 to 9.")
flags.DEFINE_string("out", "out", "Folder for the exported files, the trained states, the digits and the picture.")
flags.DEFINE_list(
    "methods",
    ["last", "bias", "lite_residual", "lite_residual+bias", "norm+last", "full"],
    "What trains on the device, one after the other.",
)
flags.DEFINE_integer("epochs", 8, "Epochs of training on the device.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Images per training step on the device.", lower_bound=1)
flags.DEFINE_float("learning_rate", None, "Highest rate of the cosine schedule; by default 0.05, for `full` 0.01.")
flags.DEFINE_integer("pretrain_epochs", 15, "Epochs of pretraining on the computer.", lower_bound=1)

SIZE = 32  # pixels
TEST_FRACTION = 0.25


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. `accuracies` are those before training and after each epoch, in [0, 1]."""

    method: str
    accuracies: list[float]
    trainable_parameters: int
    train_arena_bytes: int
    infer_arena_bytes: int
    milliseconds: float


def parse(arguments: list[str]) -> list[str]:
    """`FLAGS` from the command line; a mistake in it is one line."""
    try:
        unexpected = FLAGS(arguments)[1:]
    except flags.Error as error:
        raise SystemExit(f"demo: {error}") from error
    if unexpected:
        raise SystemExit(f"demo: unexpected: {unexpected}. A folder is given by --data=folder/")
    return arguments


def main(_):
    logging.get_absl_handler().setFormatter(python_logging.Formatter("%(message)s"))
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        train, test, known, what = samples()
    except (OSError, ValueError) as error:
        raise SystemExit(f"demo: {error}") from error
    with quiet_stderr():  # TensorFlow, which comes with it, takes seconds, and talks whatever TF_CPP_MIN_LOG_LEVEL is
        import small_network

    print(f"1. On the computer: pretraining on the digits {known[0]} to {known[-1]}")
    network = small_network.pretrain(digits.load(known, SIZE), FLAGS.pretrain_epochs)
    network.save(out / "demo.keras")
    print(f"2. On the device: {len(train.labels)} images of {what}, {len(test.labels)} held out")
    rows = [learn(network, method, train, test, out) for method in FLAGS.methods]

    print(f"\n{table(rows)}\n(arenas at batch {FLAGS.batch_size}; inference: the stock converter's file)\n")
    save_picture(rows, out / "demo.png", f"A .tflite file learns {what}", FLAGS.batch_size)
    if not FLAGS.data:
        save_image_folder(train, out / "digits" / "train")
        save_image_folder(test, out / "digits" / "test")
        print(f"The digits as PNG files, a folder per class: {out}/digits/train, {out}/digits/test")
    print(f"Picture: {out / 'demo.png'}   Exported files and what they learned: {out}/demo_*.tflite, *.safetensors")


def samples() -> tuple[LabelledImages, LabelledImages, range, str]:
    """What the device trains and is tested on, the digits that it knows already, and what it learns in words."""
    if FLAGS.data:
        everything, known = load_image_folder(FLAGS.data, SIZE), range(10)
        what = f"{len(everything.class_names)} classes of your own"
    else:
        everything, known = digits.load(range(5, 10), SIZE), range(5)
        what = "five digits that the network has never seen"
    return *split(everything), known, what


def split(everything: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """Training and test samples: of every class, a quarter is held out."""
    rng = np.random.default_rng(0)
    held_out = np.zeros(len(everything.labels), bool)
    for label, name in enumerate(everything.class_names):
        rows = rng.permutation(np.flatnonzero(everything.labels == label))
        if len(rows) < 2:
            raise ValueError(f"The class {name!r} has one image. It needs two: one to learn from and one to test on.")
        held_out[rows[: math.ceil(TEST_FRACTION * len(rows))]] = True
    return tuple(
        LabelledImages(everything.images[rows], everything.labels[rows], everything.class_names)
        for rows in (~held_out, held_out)
    )


def learn(network, method: str, train: LabelledImages, test: LabelledImages, out: Path) -> Row:
    """Converts, exports, and trains the exported file."""
    import keras
    import small_network

    import tinytl_keras

    path = out / f"demo_{method}.tflite"
    keras.utils.set_random_seed(0)  # the same new head for every method
    converted = tinytl_keras.convert(network, method, num_classes=len(train.class_names))
    report = tflite_export.export(
        converted,
        path,
        batch_size=FLAGS.batch_size,
        class_names=train.class_names,
        input_scale=small_network.INPUT_SCALE,
        input_offset=small_network.INPUT_OFFSET,
    )
    logging.info("%s", report)

    # From here on, nothing but the file, LiteRT and numpy.
    model = OnDeviceModel(path)
    before = model.evaluate(test.images, test.labels).accuracy
    steps = FLAGS.epochs * math.ceil(len(train.labels) / FLAGS.batch_size)
    print(f"   {method}: {steps} steps in LiteRT …", flush=True)
    history = model.fit(
        train.images,
        train.labels,
        FLAGS.epochs,
        learning_rate=cosine(FLAGS.learning_rate or (0.01 if method == "full" else 0.05)),
        validation=(test.images, test.labels),
    )
    model.save(path.with_suffix(".safetensors"))
    return Row(
        method=method,
        accuracies=[before, *history["validation_accuracy"]],
        trainable_parameters=sum(math.prod(variable["shape"]) for variable in model.info["trainables"]),
        train_arena_bytes=report.train_arena_bytes,
        infer_arena_bytes=report.infer_arena_bytes,
        milliseconds=milliseconds_per_step(model, train),
    )


def milliseconds_per_step(model: OnDeviceModel, train: LabelledImages, repeats: int = 30) -> float:
    """Median over steps at rate 0, which change nothing."""
    x, y = train.images[: FLAGS.batch_size], train.labels[: FLAGS.batch_size]
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.train_step(x, y, 0.0)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds)


def table(rows: list[Row]) -> str:
    head = ("method", "accuracy before", "after", "trainable", "training arena", "inference arena", "ratio", "ms/step")
    body = [
        (
            row.method,
            f"{row.accuracies[0]:.1%}",
            f"{row.accuracies[-1]:.1%}",
            f"{row.trainable_parameters:,}",
            f"{row.train_arena_bytes / 1000:,.0f} KB",
            f"{row.infer_arena_bytes / 1000:,.0f} KB",
            f"{row.train_arena_bytes / row.infer_arena_bytes:.2f}",
            f"{row.milliseconds:.2f}",
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in (head, *body)
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
