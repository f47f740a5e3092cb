"""Whether a process that trains for long needs more and more: memory, and open files.

Takes 10,000 training steps on a file that is exported here, with a prediction and a save every 100 steps, and notes
after step 200 and at the end what the process has in memory (VmRSS) and how many files it has open.

    python benchmarks/endurance.py

Exit status 1 if the memory differs by 1 MB or more, or the number of open files at all. Linux: it reads /proc.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags
from small_file import export_small, samples
from text_table import table

from tflite_export.cli.resident import resident_bytes
from tflite_export.runtime import OnDeviceModel

FLAGS = flags.FLAGS
flags.DEFINE_integer("steps", 10_000, "Training steps.", lower_bound=201)

WARM, EVERY, LIMIT = 200, 100, 1_000_000


@dataclasses.dataclass(frozen=True)
class Usage:
    """Of this process after `step` training steps."""

    step: int
    resident_bytes: int
    open_files: int

    @classmethod
    def now(cls, step: int) -> Usage:
        return cls(step, resident_bytes(), len(os.listdir("/proc/self/fd")))


def endure(path: Path, folder: Path, steps: int) -> list[Usage]:
    """What is used after step `WARM`, and after every tenth of the rest."""
    model, (x, y) = OnDeviceModel(path, num_threads=1), samples()
    usages, noted = [], set(np.linspace(WARM, steps, 11).astype(int))

    def after_step(_):
        if model.steps % EVERY == 0:
            model.predict(x)
            model.save(folder / "state.safetensors", keep=2)
        if model.steps in noted:
            usages.append(Usage.now(model.steps))
        if model.steps == steps:
            raise StopIteration

    with contextlib.suppress(StopIteration):
        model.fit(x, y, steps, after_step=after_step, verbose=False)
    return usages


def report(usages: list[Usage]) -> str:
    rows = [(f"{u.step:,}", f"{u.resident_bytes / 1e6:.2f} MB", str(u.open_files)) for u in usages]
    return table(("step", "resident", "open files"), rows, left=0)


def is_steady(usages: list[Usage]) -> bool:
    first, last = usages[0], usages[-1]
    return abs(last.resident_bytes - first.resident_bytes) < LIMIT and last.open_files == first.open_files


def main(_):
    with tempfile.TemporaryDirectory() as folder:
        export_small(Path(folder) / "model.tflite")
        usages = endure(Path(folder) / "model.tflite", Path(folder), FLAGS.steps)
    print(report(usages))
    print(f"\n{usages[-1].resident_bytes - usages[0].resident_bytes:+,} bytes from step {WARM} to {usages[-1].step:,}")
    sys.exit(not is_steady(usages))


if __name__ == "__main__":
    app.run(main)
