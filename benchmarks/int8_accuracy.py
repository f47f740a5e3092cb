"""What do frozen weights in 8 bits cost in accuracy?

The photographs, halves, rates and recipe of transfer_accuracy.py, whose flags this has too. Every run is *in LiteRT*,
of a file exported with frozen="float32" or frozen="int8". Of one method and seed, both start from the same heads,
branches and biases and take the same batches in the same order; a pair's difference is int8 minus float32. The mark: on
average no more than half a point below float32.

The exit status is 1 if a method misses it.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from absl import app, flags
from kept_rows import KeptRows, digest_of_program
from text_table import table
from tqdm import tqdm
from transfer_accuracy import RATES, halves, learn_on_device

FLAGS = flags.FLAGS
_METHODS, _FROZEN = ("bias", "lite_residual+bias"), ("float32", "int8")
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "pillow", "tensorflow")
_MARK = -0.5  # points


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    kept = KeptRows(Path(FLAGS.results), digest_of_program(_PACKAGES))
    size = keras.models.load_model(FLAGS.model).input_shape[1]
    train, test = halves(size)
    found = {}
    methods = FLAGS.methods or _METHODS
    wanted = [(method, seed, frozen) for seed in FLAGS.seed for method in methods for frozen in _FROZEN]
    for method, seed, frozen in tqdm(wanted, desc="runs"):
        rate = RATES[method] if FLAGS.learning_rate is None else FLAGS.learning_rate
        settings = {"method": method, "frozen": frozen, "seed": seed, "rate": rate, "epochs": FLAGS.epochs}
        settings |= {"batch": FLAGS.batch_size, "tune": FLAGS.tune, "model": FLAGS.model, "data": FLAGS.data}
        key = " ".join(f"{name}={value}" for name, value in settings.items())
        if key not in kept:
            kept.keep(key, settings | learn_on_device(method, rate, seed, train, test, frozen))
        found[method, seed, frozen] = kept[key]
    rows, missed = report(found, methods, FLAGS.seed)
    print(table(["method", "frozen", "accuracy %", "of each seed", "loss", "points", "of each pair", ""], rows, left=2))
    return 1 if missed else 0


def report(found: dict[tuple, dict], methods, seeds) -> tuple[list[list[str]], bool]:
    """The table's rows, and whether a method misses the mark.

    Args:
        found: "accuracy", of 1, and "loss" by (method, seed, frozen).
    """
    rows, missed = [], False
    for method in methods:
        accuracies = {f: np.array([100 * found[method, seed, f]["accuracy"] for seed in seeds]) for f in _FROZEN}
        differences = accuracies["int8"] - accuracies["float32"]
        for frozen, values in accuracies.items():
            loss = np.mean([found[method, seed, frozen]["loss"] for seed in seeds])
            rows.append([method, frozen, f"{values.mean():.2f}", _list(values, ".2f"), f"{loss:.3f}", "", "", ""])
        is_missed = differences.mean() < _MARK
        rows[-1][-3:] = f"{differences.mean():+.2f}", _list(differences, "+.2f"), "MISSED" if is_missed else "met"
        missed |= bool(is_missed)
    return rows, missed


def _list(values, form: str) -> str:
    return ", ".join(format(value, form) for value in values)


if __name__ == "__main__":
    FLAGS.set_default("results", "out/int8_accuracy.json")
    app.run(main)
