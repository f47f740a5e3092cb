"""Cuts samples into batches of the one size that the file was compiled for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def epoch_order(count: int, shuffle: bool, seed: int, epoch: int) -> np.ndarray:
    """The order, int64 [count], in which an epoch visits the samples.

    It depends on nothing but the arguments, so an interrupted `fit` can go on in the middle of an epoch.
    """
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng((seed, epoch)).permutation(count)


def slices(count: int, size: int) -> Iterator[slice]:
    """Consecutive slices of at most `size` that cover [0, count)."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def pad_rows(array: np.ndarray, rows: int, value: float = 0) -> np.ndarray:
    """`array` with rows of `value` behind it until it has `rows` rows. A full array is returned as it is."""
    missing = rows - len(array)
    if missing == 0:
        return array
    return np.concatenate([array, np.full((missing, *array.shape[1:]), value, array.dtype)])
