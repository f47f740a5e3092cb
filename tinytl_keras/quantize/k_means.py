"""k-means of numbers: in one dimension clusters are intervals, so sorting does most of the work."""

import numpy as np

_BINS = 4096
_MOST_ROUNDS = 300


def k_means(values: np.ndarray, clusters: int) -> np.ndarray:
    """The centroids of Lloyd's algorithm, started where their density is optimal.

    For many clusters the density of optimal centroids is the cube root of that of the values (Panter and Dite, 1951).
    From there Lloyd's rounds, each one a search in sorted values and a difference of their running sums, end in an
    optimum that no centroid by itself can leave. Nothing is random.

    Args:
        values: Numbers, of any shape.
        clusters: How many centroids at most.

    Returns:
        float64 `[clusters]`, ascending; all different values where those are no more than `clusters`.
    """
    values = np.sort(np.asarray(values, np.float64), axis=None)
    distinct = np.unique(values)
    if len(distinct) <= clusters:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centroids = _first_centroids(values, clusters)
    ends = None
    for _ in range(_MOST_ROUNDS):
        middles = (centroids[1:] + centroids[:-1]) / 2
        previous, ends = ends, np.concatenate([[0], np.searchsorted(values, middles), [len(values)]])
        if np.array_equal(previous, ends):
            break
        counts = np.diff(ends)
        centroids = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), centroids)
    return centroids


def _first_centroids(values: np.ndarray, clusters: int) -> np.ndarray:
    counts, edges = np.histogram(values, _BINS)
    share = np.concatenate([[0.0], np.cumsum(np.cbrt(counts))])
    return np.interp((np.arange(clusters) + 0.5) / clusters * share[-1], share, edges)


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The centroid next to each value, of the values' shape and dtype. `centroids` ascend."""
    index = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
    return centroids.astype(values.dtype)[index]
