"""Programs for microcontrollers: RAM, flash and instructions of a training step, beside TFLite Micro's arena.

(a) MobileNetV2, 0.35 wide, 96 px, 10 classes; (b) ProxylessNAS, 0.3 wide, 128 px, with a head for ten hand signs.
Every program is linked for a Cortex-M4 within the RAM and the flash that its report says, the linker asserts that, and
runs in QEMU, which counts instructions exactly. TFLite Micro runs what `export(…, runtime="micro")` writes of the same
model, with its kernels and with our custom operators (kernels="tinytl"). Its instructions need its source tree:
`micro_tflm.py` says how; without one, its arena is what its wheel says it used.

--accuracy trains (b) by the generated C on this computer over half of the photographs, with float and with int8
activations, and by LiteRT with the same weights, order and rates, with float kernels and with the int8 kernels that the
programs have, and tests all on the other half.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import micro_accuracy
import micro_tflm
import numpy as np
from absl import app, flags
from photographs import photographs
from PIL import Image
from text_table import table

import tflite_export
import tinytl_keras
from tflite_export import micro
from tflite_export.micro import boards, host

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "../shared/models/proxyless_w03_imagenet_128.keras", "The pretrained Keras model of (b).")
flags.DEFINE_string("data", "../shared/data/sign-digits", "A folder with one folder of photographs per class.")
flags.DEFINE_string("ram", "256KB", "The budget of (b).")
flags.DEFINE_string("flash", "1MB", "The budget of both.")
flags.DEFINE_bool("programs", True, "RAM, flash and instructions.")
flags.DEFINE_bool("accuracy", False, "Also train (b) on photographs.")
flags.DEFINE_integer("epochs", 2, "Of --accuracy.", lower_bound=1)
flags.DEFINE_list("methods", ["bias", "lite_residual+bias"], "Of --accuracy.")
flags.DEFINE_list("seeds", ["0", "1", "2"], "Of --accuracy: of heads and of the order of the photographs.")
flags.DEFINE_multi_enum(
    "trainer", list(micro_accuracy.TRAINERS), list(micro_accuracy.TRAINERS), "Of --accuracy: these alone."
)
flags.DEFINE_float("rate", 1e-3, "Of --accuracy: Adam's at the start, falling to 0 by a cosine.", lower_bound=0)
flags.DEFINE_string("arena_of", None, "Prints what TFLite Micro says of this file; the benchmark calls itself so.")

MAIN = Path(__file__).parent / "micro_main.c"
PIXELS = {"input_dtype": "uint8", "input_scale": 1 / 127.5, "input_offset": -1.0}
UNPRINTED = "–"


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    if FLAGS.arena_of:
        print_arena(FLAGS.arena_of)
        return
    photos = photographs(Path(FLAGS.data), 128)
    rows = []
    small, signs = mobilenet(), proxyless()
    cases = [("(a)", small, "bias", None), ("(b)", signs, "bias", None), ("(b)", signs, "bias", FLAGS.ram)]
    cases += [("(b)", signs, "lite_residual+bias", FLAGS.ram)]
    for name, base, method, ram in cases if FLAGS.programs else ():
        model = tinytl_keras.convert(base, method)
        rows.append(generated(name, model, method, ram))
        rows.append(generated(name, model, method, ram, activations="int8", calibration=samples(photos, base)))
        if method == "bias" and ram is None:
            rows += [tflm(name, model, method, kernels) for kernels in ("builtin", "tinytl")]
    head = ["", "runs as", "trains", "RAM", "arena", "flash", "inference", "step", "step / inference"]
    print(table(head, rows, left=3))
    if FLAGS.accuracy:
        accuracy(signs, photos)


def mobilenet() -> keras.Model:
    keras.utils.set_random_seed(0)
    shape = (96, 96, 3)
    base = keras.applications.MobileNetV2(shape, alpha=0.35, weights=None, include_top=False, pooling="avg")
    return keras.Model(base.input, keras.layers.Dense(10, name="head")(base.output), name="mobilenet")


def proxyless() -> keras.Model:
    keras.utils.set_random_seed(0)
    base = keras.models.load_model(FLAGS.model)
    return keras.Model(base.input, keras.layers.Dense(10, name="head")(base.get_layer("feat").output), name="signs")


def samples(photos, base: keras.Model) -> np.ndarray:
    """Photographs of the size that `base` takes, for calibration."""
    x = photos[0][:: len(photos[0]) // micro_accuracy.CALIBRATION][: micro_accuracy.CALIBRATION]
    size = base.input_shape[1:3]
    return np.stack([np.asarray(Image.fromarray(p).resize(size, Image.Resampling.BILINEAR), np.uint8) for p in x])


def generated(name: str, model: keras.Model, method: str, ram: str | None, **options) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        budgets = {"ram_budget": ram, "flash_budget": FLAGS.flash}
        report = micro.generate(model, folder, name="measured", **budgets, **PIXELS, **options)
        print(f"{name} {method}\n{report}\n")
        image, board = Path(folder) / "measured.elf", boards.BOARDS["mps2-an386"]
        flags_ = ["-std=c11", "-O2", f"-I{host.HOME / 'include'}", f"-I{host.HOME / 'src'}", f"-I{folder}"]
        files = [MAIN, Path(folder) / "measured.c", *host.kernel_sources()]
        symbols = {"RAM_BUDGET": report.ram_bytes, "FLASH_BUDGET": report.flash_bytes, "STACK_BYTES": 3584}
        boards.build(board, files, image, flags=flags_, symbols=symbols)
        status, console = boards.run(board, image, timeout=1200)
        if status:
            raise RuntimeError(f"the board stopped with status {status}: {console}")
        inference, step = map(int, console.split())
        flash = flash_bytes(image)
    within = "" if ram is None else f" within {ram}"
    trained = f"{len(report.trainable_names)} of {len(model.trainable_variables)} variables, {method}{within}"
    numbers = [report.ram_bytes, report.arena_bytes, flash, inference, step]
    kind = "generated C, int8" if options else "generated C, float"
    return [name, kind, trained, *(f"{n:,}" for n in numbers), f"{step / inference:.2f}"]


def flash_bytes(image: Path) -> int:
    """Code, constants and the first values of variables in an ELF file."""
    sizes = subprocess.run(["arm-none-eabi-size", image], capture_output=True, text=True, check=True).stdout
    text, data, *_ = sizes.splitlines()[1].split()
    return int(text) + int(data)


def tflm(name: str, model: keras.Model, method: str, kernels: str) -> list[str]:
    what = {"builtin": "TFLite Micro, stock", "tinytl": "TFLite Micro, our ops"}[kernels]
    trained = f"all {len(model.trainable_variables)} variables, {method}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        report = tflite_export.export(model, path, runtime="micro", kernels=kernels, verify=False)
        if micro_tflm.missing() is None:
            m = micro_tflm.measure(path)
            numbers = [m.ram, m.arena, m.flash, m.inference, m.step]
            return [name, what, trained, *(f"{n:,}" for n in numbers), f"{m.step / m.inference:.2f}"]
        print(f"{name} {what}: no instructions; {micro_tflm.missing()}")
        if kernels == "tinytl":
            return [name, what, trained, UNPRINTED, f"{report.train_arena_bytes:,}", f"{path.stat().st_size:,}"] + [
                UNPRINTED
            ] * 3
        command = [sys.executable, __file__, f"--arena_of={path}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        (total,) = re.findall(r"Arena allocation total (\d+) bytes", said.stdout + said.stderr)
        flash = path.stat().st_size
    numbers = [int(total), report.train_arena_bytes, flash]
    return [name, what, trained, *(f"{n:,}" for n in numbers), *[UNPRINTED] * 3]


def print_arena(path: str) -> None:
    """TFLite Micro writes past Python's stdout, so this runs in a process of its own."""
    from tflite_export.verify_micro import micro_wheel

    interpreter = micro_wheel().Interpreter.from_file(path, arena_size=1 << 26)
    interpreter.invoke()
    interpreter.print_allocations()


def accuracy(base: keras.Model, photos) -> None:
    """All trainers train what a float program of the budget trains."""
    models = {}
    for method in FLAGS.methods:
        model = tinytl_keras.convert(base, method)
        with tempfile.TemporaryDirectory() as folder:
            report = micro.generate(model, folder, ram_budget=FLAGS.ram, verify=False, **PIXELS)
        models[method] = micro_accuracy.with_only(model, set(report.trainable_names))
    settings = micro_accuracy.Settings(FLAGS.epochs, FLAGS.rate, PIXELS)
    micro_accuracy.compare(models, photos, list(map(int, FLAGS.seeds)), FLAGS.trainer, settings)


if __name__ == "__main__":
    app.run(main)
