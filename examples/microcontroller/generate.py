"""From a Keras model to an image that learns on a Cortex-M.

A small MobileNetV2 learns to tell six drawn shapes on this computer. Then it becomes a C program that learns three
others, which it has never seen, in 256 KB of RAM, from nine pictures in flash. --run builds an image for a board that
QEMU knows and runs it; --arduino writes an Arduino library; CMakeLists.txt builds for your own board.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
import keras
import numpy as np
import shapes
from absl import app, flags
from network import build

import tflite_export
import tinytl_keras
from tflite_export import micro
from tflite_export.micro import boards

INPUT_SCALE, INPUT_OFFSET = 1 / 127.5, -1.0  # pixels -> [-1, 1]
HERE = Path(__file__).resolve().parent
FLAGS = flags.FLAGS
flags.DEFINE_string("out", str(HERE / "build"), "Folder for the program, its kernels and the pictures.")
flags.DEFINE_string("model", None, "A .keras model on 128x128 RGB pixels in [-1, 1], in place of the one trained here.")
flags.DEFINE_string("method", "lite_residual+bias", "What trains on the device: last, bias, lite_residual, ….")
flags.DEFINE_string("ram", "256KB", "RAM of the program.")
flags.DEFINE_string("flash", "1MB", "Flash of the program without the pictures.")
flags.DEFINE_integer("epochs", 8, "Of the training on this computer.", lower_bound=1)
flags.DEFINE_boolean("run", False, "Build an image for a Cortex-M4 and run it in QEMU.")
flags.DEFINE_string("arduino", None, "Folder for an Arduino library.")

TRAINED, TESTED = 3, 2  # pictures of every new shape in flash


def main(_):
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    model = keras.models.load_model(FLAGS.model) if FLAGS.model else pretrained(FLAGS.epochs)
    model = tinytl_keras.convert(model, FLAGS.method, num_classes=len(shapes.NEW))
    report = micro.generate(
        model, out, name="learner", ram_budget=FLAGS.ram, flash_budget=FLAGS.flash, class_names=shapes.NEW,
        input_dtype="uint8", input_scale=INPUT_SCALE, input_offset=INPUT_OFFSET, optimizer=momentum(),
    )  # fmt: skip
    print(report)
    micro.copy_kernels(out)
    write_pictures(out)
    if FLAGS.arduino:
        write_arduino(out, Path(FLAGS.arduino))
    if FLAGS.run:
        run(out)


def momentum():
    """Averages over several pictures, where a step sees one."""
    return tflite_export.SGD(momentum=0.8)


def pretrained(epochs: int) -> keras.Model:
    """The network, having learned the known shapes."""
    keras.utils.set_random_seed(0)
    model = build(shapes.SIZE, len(shapes.KNOWN))
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = shapes.pictures(shapes.KNOWN, each=60, seed=0)
    model.fit(x * np.float32(INPUT_SCALE) + np.float32(INPUT_OFFSET), y, batch_size=32, epochs=epochs, verbose=2)
    return model


def write_pictures(folder: Path) -> None:
    """pictures.h: the pictures to train and to test on, in flash."""
    parts = ["#include <stdint.h>\n"]
    for name, each, seed in (("train", TRAINED, 1), ("test", TESTED, 2)):
        x, y = shapes.pictures(shapes.NEW, each, seed)
        labels = ", ".join(map(str, y))
        parts.append(
            f"#define {name.upper()}_PICTURES {len(y)}\nstatic const int32_t {name}_labels[] = {{{labels}}};\n"
        )
        parts.append(f"static const uint8_t {name}_pictures[{len(y)}][{x[0].size}] = {{\n")
        parts += ["{" + ",".join(map(str, picture.ravel().tolist())) + "},\n" for picture in x]
        parts.append("};\n")
    (folder / "pictures.h").write_text("".join(parts))


def run(folder: Path) -> None:
    """What the board's console says."""
    board, image = boards.BOARDS["mps2-an386"], folder / "learner.elf"
    flags = ["-std=c11", "-O2", f"-I{folder}", f"-I{folder / 'include'}", f"-I{folder / 'src'}"]
    sources = [HERE / "main.c", folder / "learner.c", *sorted((folder / "src").rglob("*.c"))]
    symbols = {"RAM_BUDGET": 256 * 1024, "STACK_BYTES": 3584}
    boards.build(board, sources, image, flags=flags, symbols=symbols)
    status, console = boards.run(board, image, timeout=3600)
    print(console)
    if status:
        raise SystemExit(f"the program ended with status {status}")


def write_arduino(folder: Path, library: Path) -> None:
    """An Arduino library: what it compiles lies in src, headers from there on."""
    sketch = library / "examples" / "Learner"
    for target in (library / "src", sketch):
        target.mkdir(parents=True, exist_ok=True)
    for part in ("include", "src"):
        shutil.copytree(folder / part, library / "src", dirs_exist_ok=True)
    for name in ("learner.c", "learner.h"):
        shutil.copy(folder / name, library / "src" / name)
    shutil.copy(HERE / "arduino" / "library.properties", library)
    shutil.copy(HERE / "arduino" / "Learner.ino", sketch)


if __name__ == "__main__":
    app.run(main)
