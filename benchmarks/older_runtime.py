"""Do exported files train in a TFLite runtime that is years old, as those on phones are?

Makes a virtual environment with an older runtime from PyPI (once; it is kept), exports a few networks, and has
train_anywhere.py train each file in the older runtime and in the installed LiteRT: the same steps, with a save and a
restore in between, then infer. A row passes if both end with the same updates. The exit status is 1 if one does not.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import networks
import numpy as np
from absl import app, flags
from differences import update_difference, worst_of
from fresh_process import last_error
from text_table import table
from tqdm import tqdm

import tflite_export

FLAGS = flags.FLAGS
flags.DEFINE_list("requirements", ["tflite-runtime==2.14.0", "numpy<2"], "What pip installs for the older runtime.")
flags.DEFINE_string("environment", "out/older_runtime", "Folder of the virtual environment; reused if it is there.")
flags.DEFINE_string("python", sys.executable, "The Python that the environment is made with (2.14.0: up to 3.11).")
flags.DEFINE_integer("batch_size", 2, "Rows of a training step.", lower_bound=1)
flags.DEFINE_integer("steps", 6, "Training steps.", lower_bound=3)
flags.DEFINE_float("learning_rate", 0.05, "Of every step.")
flags.DEFINE_float("tolerance", 1e-3, "Largest ||D_old - D_new|| / ||D_new|| of a variable's update D that passes.")

NETWORKS = (("MobileNetV2-0.35@96", "bias"), ("MobileNetV2-0.35@96", "last"), (networks.PLAIN, "bias"))
KERNELS = ("builtin", "xnnpack")
_SCRIPT = Path(__file__).with_name("train_anywhere.py")


@dataclasses.dataclass(frozen=True)
class Row:
    """What two runtimes made of one file. `error` is the older one's exception where it failed."""

    network: str
    method: str
    kernels: str
    worst: float = float("nan")
    worst_variable: str = ""
    loss: float = float("nan")
    output: float = float("nan")
    error: str = ""

    @property
    def passed(self) -> bool:
        return not self.error and self.worst <= FLAGS.tolerance


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    older = environment(Path(FLAGS.environment))
    rows, runtimes = [], set()
    cases = list(itertools.product(NETWORKS, KERNELS))
    with tempfile.TemporaryDirectory() as folder:
        for (network, method), kernels in tqdm(cases, desc="rows"):
            row, used = compare(network, method, kernels, Path(folder), older)
            rows.append(row)
            runtimes.add(used)
    print("\n" + "\n".join(sorted(runtimes)) + "\n")
    print(report(rows))
    failed = [row for row in rows if not row.passed]
    for row in failed:
        print(f"\n{row.network} {row.method} {row.kernels}: {row.error or 'the updates differ'}")
    return 1 if failed else 0


def environment(folder: Path) -> Path:
    """The Python of a virtual environment with the older runtime, made where it is missing."""
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join([FLAGS.python, *FLAGS.requirements])
    if not done.exists() or done.read_text() != wanted:
        print(f"making {folder} with {', '.join(FLAGS.requirements)}", flush=True)
        subprocess.run([FLAGS.python, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *FLAGS.requirements], check=True)
        done.write_text(wanted)
    return python


def compare(network: str, method: str, kernels: str, folder: Path, older: Path) -> tuple[Row, str]:
    """The row, and which runtimes were compared."""
    model = networks.build(network, method)
    path, batches = folder / "model.tflite", folder / "batches.npz"
    tflite_export.export(model, path, batch_size=FLAGS.batch_size, kernels=kernels, verify=False)
    rng = np.random.default_rng(1)
    count = FLAGS.steps * FLAGS.batch_size
    x, y = networks.images(rng, count, model.input_shape[1:]), networks.labels(rng, count)
    steps = (FLAGS.steps, FLAGS.batch_size)
    np.savez(batches, x=x.reshape(*steps, *x.shape[1:]), y=y.reshape(steps), learning_rate=FLAGS.learning_rate)

    new, new_runtime, error = train(Path(sys.executable), path, kernels, batches, folder / "new.npz")
    if error:
        raise RuntimeError(f"{network} {method} {kernels} fails in {new_runtime}: {error}")
    old, old_runtime, error = train(older, path, kernels, batches, folder / "old.npz")
    runtimes = f"{old_runtime} against {new_runtime}"
    if error:
        return Row(network, method, kernels, error=error), runtimes
    names = [key.removeprefix("after/") for key in new if key.startswith("after/")]
    differences = {n: update_difference(new[f"before/{n}"], old[f"after/{n}"], new[f"after/{n}"]) for n in names}
    worst = worst_of(differences)
    return Row(
        network=network,
        method=method,
        kernels=kernels,
        worst=differences[worst],
        worst_variable=worst,
        loss=float(np.abs(old["losses"] - new["losses"]).max()),
        output=float(np.linalg.norm(old["output"] - new["output"]) / np.linalg.norm(new["output"])),
    ), runtimes


def train(python: Path, model: Path, kernels: str, batches: Path, results: Path) -> tuple[dict, str, str]:
    """Results by name, the runtime's name and version, and the error if it failed."""
    results.unlink(missing_ok=True)
    command = [str(python), str(_SCRIPT), str(model), kernels, str(batches), str(results)]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        return {}, python.parent.parent.name, last_error(result.stderr) or f"exit status {result.returncode}"
    with np.load(results) as data:
        return dict(data), result.stdout.strip().splitlines()[-1], ""


def report(rows: list[Row]) -> str:
    head = ("network", "method", "kernels", "update", "loss", "infer", "verdict", "worst variable")
    body = [
        (
            row.network,
            row.method,
            row.kernels,
            f"{row.worst:.1e}",
            f"{row.loss:.1e}",
            f"{row.output:.1e}",
            "pass" if row.passed else "FAIL",
            row.worst_variable,
        )
        for row in rows
    ]
    return table(head, body, left=3)


if __name__ == "__main__":
    app.run(main)
