"""How long does a training step take, against plain inference?

Per method and kernel set, at batch 1 with one thread: the exported file's `train` and the inference file that
TensorFlow's own converter makes of the same network run alternately in one process, so that a busy machine slows both.
Medians over the rounds; the file is exported for the kernel set it runs with.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import networks
from absl import app, flags
from files import signature_of, write_files
from litert import KERNELS, Session
from text_table import table
from tqdm import tqdm

FLAGS = flags.FLAGS
flags.DEFINE_string("network", "MobileNetV2-1.0@224", "See benchmarks/networks.py.")
flags.DEFINE_list("methods", ["bias", "last"], "What trains.")
flags.DEFINE_list("kernels", list(KERNELS), "Kernel sets.")
flags.DEFINE_integer("rounds", 30, "Runs of each file.", lower_bound=1)


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    rows = []
    with tempfile.TemporaryDirectory() as folder, tqdm(total=len(FLAGS.methods) * len(FLAGS.kernels)) as bar:
        for method in FLAGS.methods:
            model = networks.build(FLAGS.network, method)
            for kernels in FLAGS.kernels:
                paths = write_files(model, kernels, Path(folder))
                step, inference, ratio = alternate(paths["all"], paths["inference"], kernels)
                rows.append((method, kernels, f"{step:.2f}", f"{inference:.2f}", f"{ratio:.2f}"))
                bar.update()
    print(f"\n{FLAGS.network}, batch 1, 1 thread, median of {FLAGS.rounds}\n")
    print(table(("method", "kernels", "ms/step", "ms/inference", "ratio"), rows, left=2))


def alternate(trainable: Path, stock: Path, kernels: str) -> tuple[float, float, float]:
    """Median milliseconds of a training step and of an inference, and the median of their ratios."""
    timed = []
    for name, path in (("all", trainable), ("inference", stock)):
        session, signature = Session(str(path), kernels), signature_of(name)
        inputs = session.random_inputs(signature)
        session.run(signature, **inputs)  # the first run allocates
        timed.append((session, signature, inputs))
    rounds = [[milliseconds(*one) for one in timed] for _ in range(FLAGS.rounds)]
    steps, inferences = zip(*rounds)
    return (
        statistics.median(steps),
        statistics.median(inferences),
        statistics.median(step / inference for step, inference in rounds),
    )


def milliseconds(session: Session, signature: str | None, inputs: dict) -> float:
    start = time.perf_counter()
    session.run(signature, **inputs)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    app.run(main)
