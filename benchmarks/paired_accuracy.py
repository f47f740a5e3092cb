"""What an option of `export` costs in accuracy, by pairs of files that differ in it alone.

The photographs, halves, rates and recipe are those of transfer_accuracy.py, and so are the flags. Every run is *in
LiteRT*. Of one method and seed, both files start from the same heads, branches and biases and take the same batches in
the same order; a pair's difference is in points, the option's value minus its default.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags
from text_table import table
from transfer_accuracy import finished, learn_on_device, settings

FLAGS = flags.FLAGS
_METHODS = ("bias", "lite_residual+bias")
_MARK = -0.5  # points


def compare(option: str, default: str, value: str, train, test) -> bool:
    """Trains the pairs and prints their table.

    Args:
        option: of `export`.
        default, value: what it is in the one file of a pair, and in the other.
        train, test: pictures and classes, as `transfer_accuracy.halves` gives them.

    Returns:
        Whether a method misses the mark: on average of its seeds no more than half a point below the default.
    """

    def learn(run: dict) -> dict:
        given = {option: run[option]}
        return learn_on_device(run["method"], run["rate"], run["seed"], train, test, **given)

    methods = FLAGS.methods or _METHODS
    pairs = [(method, seed) for seed in FLAGS.seed for method in methods]
    runs = finished([settings(*pair, **{option: v}) for pair in pairs for v in (default, value)], learn)
    rows, missed = [], False
    for method in methods:
        of_value = [[r for r in runs if (r["method"], r[option]) == (method, v)] for v in (default, value)]
        more, is_missed = rows_of_method(method, (default, value), *of_value)
        rows, missed = rows + more, missed or is_missed
    print(table(["method", option, "accuracy %", "of each seed", "loss", "points", "of each pair", ""], rows, left=2))
    return missed


def rows_of_method(method: str, values, of_default: Sequence[dict], of_value: Sequence[dict]):
    """The table's two rows of a method, and whether it misses the mark.

    Args:
        values: the option's.
        of_default, of_value: "accuracy", of 1, and "loss" by seed.
    """
    rows = []
    for value, runs in zip(values, (of_default, of_value), strict=True):
        accuracies = _per_cent(runs)
        loss = np.mean([run["loss"] for run in runs])
        rows.append([method, value, f"{accuracies.mean():.2f}", _list(accuracies, ".2f"), f"{loss:.3f}", "", "", ""])
    differences = _per_cent(of_value) - _per_cent(of_default)
    missed = bool(differences.mean() < _MARK)
    rows[-1][-3:] = f"{differences.mean():+.2f}", _list(differences, "+.2f"), "MISSED" if missed else "met"
    return rows, missed


def _per_cent(runs: Sequence[dict]) -> np.ndarray:
    return np.array([100 * run["accuracy"] for run in runs])


def _list(values, form: str) -> str:
    return ", ".join(format(value, form) for value in values)
