"""What do frozen weights in 8 bits save, and what do they cost?

Every row is a network and a method, exported for one of LiteRT's kernel sets, SGD, batch 1, once with frozen="int8" and
once in float32 *from the model with the rounded kernels*: the float step of the same forward pass.

* file: against 1.15 bytes a frozen parameter, 4.1 a trainable one, and half a megabyte.
* growth: VmHWM of a fresh process, as in memory.py.
* step: processor time in turns in one process, as in speed.py, as a multiple of the float step's.
* cosine: between the updates of a variable by the two files, from the same images; median and worst of all variables.

The last row is the paper's figure, 37.1 MB: ProxylessNAS-Mobile, 102 classes, lite_residual+bias, the exact gradient of
a batch of 8, one row at a time, under a budget for the arena, trained by `OnDeviceModel`; all of the process's growth.

MB are 10^6 bytes. The exit status is 1 if a row misses its mark.
"""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import app, flags
from alternation import alternated, runner
from fresh_process import growth
from litert import Session
from on_device_child import memory_of
from settings import Setting
from text_table import table
from tqdm import tqdm
from versions import versions

import tflite_export
import tinytl_keras
from tflite_export.int8_weights import rounded_weights

MOBILENET, PROXYLESS = "MobileNetV2-1.0@224", "ProxylessNAS-Mobile@224 batch"
HEADLINE = Setting(PROXYLESS, "lite_residual+bias", "builtin", batch_size=8, micro_batch=1, classes=102)
HEADLINE_BUDGET = "6.1MB"  # less is possible, in more operators, which take more than that
HEADLINE_MARK, GROWTH_MARK, STEP_MARK = 37.1e6, 36e6, 1.05
MEDIAN_MARK, WORST_MARK = 0.995, 0.98
_IMAGES, _ROUNDS, _PROCESSES = 4, 40, 3

FLAGS = flags.FLAGS
flags.DEFINE_string("filter", "", "Only rows that hold every one of these words; 'headline' for the last.")
flags.DEFINE_string("output", "out/int8.json", "JSON file that finished rows are added to.")

ROWS = tuple(
    Setting(network, method, kernels, classes=classes)
    for network, classes in ((MOBILENET, 10), (PROXYLESS, 102))
    for method in ("bias", "lite_residual+bias")
    for kernels in ("xnnpack", "builtin")
)


@dataclasses.dataclass(frozen=True)
class Measured:
    """Bytes and ratios; pairs are (float32, int8)."""

    file_bytes: tuple[int, int]
    file_mark: int
    growth_bytes: tuple[int, int]
    step_ratio: float
    median_cosine: float
    worst_cosine: float

    def missed(self, setting: Setting) -> list[str]:
        marked = (setting.network, setting.method, setting.kernels) == (MOBILENET, "bias", "xnnpack")
        found = {
            "file": self.file_bytes[1] > self.file_mark,
            "growth": marked and self.growth_bytes[1] > GROWTH_MARK,
            "step": self.step_ratio > STEP_MARK,
            "cosine": self.median_cosine < MEDIAN_MARK or self.worst_cosine < WORST_MARK,
        }
        return [name for name, is_missed in found.items() if is_missed]


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    words = set(FLAGS.filter.split())
    rows = [setting for setting in ROWS if words <= {*str(setting).split(), setting.network.partition("-")[0]}]
    with tempfile.TemporaryDirectory() as folder:
        measured = {}
        for setting in tqdm(rows, desc="rows"):
            measured[setting] = measure(setting, Path(folder))
            keep({str(setting): dataclasses.asdict(measured[setting])})
        headline = measure_headline(Path(folder)) if words <= {"headline"} else None
    print(f"\n{versions()}\n")
    if measured:
        print(report(measured))
    missed = [name for setting, found in measured.items() for name in found.missed(setting)]
    if headline:
        keep({"headline": headline})
        parts = ", ".join(f"{name} {count / 1e6:.1f}" for name, count in headline.items())
        over = headline["growth"] > HEADLINE_MARK
        print(f"\n{HEADLINE}, MB: {parts}; mark {HEADLINE_MARK / 1e6:.1f}: {'MISSED' if over else 'met'}")
        missed += ["headline"] * over
    return 1 if missed else 0


def measure(setting: Setting, folder: Path) -> Measured:
    paths = {frozen: folder / f"{frozen}.tflite" for frozen in ("float32", "int8")}
    model, options = setting.model(), setting.options()
    tflite_export.export(model, paths["int8"], **options, frozen="int8", verify=False)
    originals = round_frozen(model)
    tflite_export.export(model, paths["float32"], **options, verify=False)
    summary = tinytl_keras.summary(model)
    restore(originals)
    steps = [runner(paths[frozen], setting.kernels, setting.step) for frozen in ("int8", "float32")]
    cosines = update_cosines(paths, setting)
    return Measured(
        file_bytes=tuple(path.stat().st_size for path in paths.values()),
        file_mark=int(1.15 * summary.frozen_parameters + 4.1 * summary.trainable_parameters + 0.5e6),
        growth_bytes=tuple(
            int(statistics.median(growth(path, setting.kernels, setting.step) for _ in range(_PROCESSES)))
            for path in paths.values()
        ),
        step_ratio=alternated(steps, _ROUNDS)[1][0],
        median_cosine=float(np.median(cosines)),
        worst_cosine=float(min(cosines)),
    )


def round_frozen(model: keras.Model) -> list[tuple[keras.Variable, np.ndarray]]:
    """Gives the frozen kernels of a model their rounded values; returns what they were."""
    new = rounded_weights(model, {variable.path for variable in model.trainable_variables})
    frozen = [variable for variable in model.variables if id(variable) in new]
    originals = [(variable, variable.numpy().copy()) for variable in frozen]
    for variable in frozen:
        variable.assign(new[id(variable)])
    return originals


def restore(originals: list[tuple[keras.Variable, np.ndarray]]) -> None:
    for variable, value in originals:
        variable.assign(value)


def update_cosines(paths: dict[str, Path], setting: Setting) -> list[float]:
    """Of every variable that moves, on a few images."""
    sessions = {frozen: Session(str(path), setting.kernels) for frozen, path in paths.items()}
    before, rng, cosines = sessions["int8"].save(), np.random.default_rng(1), []
    for _ in range(_IMAGES):
        x = rng.normal(size=(1, *setting.model().input_shape[1:])).astype(np.float32)
        y = rng.integers(0, setting.classes, 1).astype(np.int32)
        updates = {}
        for frozen, session in sessions.items():
            session.restore(before)
            session.train(x, y, 0.01)
            updates[frozen] = {name: value.astype(np.float64) - before[name] for name, value in session.save().items()}
        for name, one in updates["float32"].items():
            norm = np.linalg.norm(one) * np.linalg.norm(updates["int8"][name])
            if np.any(one):
                cosines.append(float(np.sum(one * updates["int8"][name]) / norm) if norm else 0.0)
    return cosines


def measure_headline(folder: Path) -> dict[str, int]:
    path, model, options = folder / "headline.tflite", HEADLINE.model(), {**HEADLINE.options(), "frozen": "int8"}
    tflite_export.export(model, path, **options, memory_budget=HEADLINE_BUDGET, verify=False)
    return memory_of(path, (HEADLINE.batch_size, *model.input_shape[1:]))


def report(measured: dict[Setting, Measured]) -> str:
    head = ("network", "method", "kernels", "file MB", "mark", "growth MB", "step", "cosine", "worst", "")
    lines = []
    for setting, found in measured.items():
        files, growths = (
            " -> ".join(f"{count / 1e6:.1f}" for count in pair) for pair in (found.file_bytes, found.growth_bytes)
        )
        missed = found.missed(setting)
        lines.append(
            (
                setting.network,
                setting.method,
                setting.kernels,
                files,
                f"{found.file_mark / 1e6:.1f}",
                growths,
                f"{found.step_ratio:.3f}",
                f"{found.median_cosine:.5f}",
                f"{found.worst_cosine:.5f}",
                f"MISSED: {', '.join(missed)}" if missed else "met",
            )
        )
    return table(head, lines, left=3)


def keep(rows: dict[str, dict]) -> None:
    """Adds rows to --output."""
    path = Path(FLAGS.output)
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | rows, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
