"""How far two training runs are apart."""

from __future__ import annotations

import numpy as np


def update_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """||D - D_expected|| / ||D_expected||, D = after - before; infinite if only one of the two moved."""
    error = np.linalg.norm(after.astype(np.float64) - expected)
    update = np.linalg.norm(expected.astype(np.float64) - before)
    if update == 0:
        return 0.0 if error == 0 else float("inf")
    return float(error / update)


def worst_of(differences: dict[str, float]) -> str:
    """The name of the largest difference. A NaN is larger than all."""
    return max(differences, key=lambda name: np.nan_to_num(differences[name], nan=np.inf))
