"""How far two training runs are apart."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def update_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """||D - D_expected|| / ||D_expected||, D = after - before; infinite if only one of the two moved."""
    error = np.linalg.norm(after.astype(np.float64) - expected)
    update = np.linalg.norm(expected.astype(np.float64) - before)
    if update == 0:
        return 0.0 if error == 0 else float("inf")
    return float(error / update)


def largest(differences: Iterable[float]) -> float:
    """A NaN is larger than all."""
    return max(differences, key=lambda difference: np.nan_to_num(difference, nan=np.inf))


def worst_of(differences: dict[str, float]) -> str:
    """The name of the largest difference."""
    return max(differences, key=lambda name: np.nan_to_num(differences[name], nan=np.inf))


def direction_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """1 - cos(D, D_expected), D = after - before; infinite if only one of the two moved."""
    update, wanted = after.astype(np.float64) - before, expected.astype(np.float64) - before
    norms = np.linalg.norm(update) * np.linalg.norm(wanted)
    if norms == 0:
        return 0.0 if not update.any() and not wanted.any() else float("inf")
    return float(1 - np.vdot(update, wanted) / norms)


def training_differences(optimizer: str, before: dict, after: dict, expected: dict) -> dict[str, float]:
    """Of every entry of `expected`: the difference of its update; with Adam, of a weight's its direction's or size's.

    Adam divides a gradient by its own size, so where that is as small as rounding, rounding decides which way one value
    goes. The whole update's direction and size are the same.
    """
    return {
        name: (_direction_or_size if optimizer == "Adam" and not is_slot(name) else update_difference)(
            before[name], after[name].reshape(value.shape), value
        )
        for name, value in expected.items()
    }


def _direction_or_size(*values: np.ndarray) -> float:
    return largest((direction_difference(*values), size_difference(*values)))


def is_slot(name: str) -> bool:
    """Whether this name in an exported file is that of an optimizer's state."""
    return name == "step" or name.rpartition("/")[2] in ("momentum", "m", "v")


def size_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """| ||D|| / ||D_expected|| - 1 |, D = after - before; infinite if only one of the two moved."""
    size = np.linalg.norm(after.astype(np.float64) - before)
    wanted = np.linalg.norm(expected.astype(np.float64) - before)
    if wanted == 0:
        return 0.0 if size == 0 else float("inf")
    return float(abs(size / wanted - 1))
