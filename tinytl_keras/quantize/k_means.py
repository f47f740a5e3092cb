"""k-means of numbers: in one dimension clusters are intervals, so sorting does most of the work."""

import heapq

import numpy as np

_MOST_ROUNDS = 300


def k_means(values: np.ndarray, clusters: int) -> np.ndarray:
    """The centroids of Lloyd's algorithm, started from intervals that are split where it helps most.

    The interval with the largest sum of squares is divided, at the best place, until there are enough. From there
    Lloyd's rounds, each one a search in sorted values and a difference of their running sums, end where no value is
    nearer to another centroid than to its own. Nothing is random.

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
    ends = _split(values, sums, clusters)
    for _ in range(_MOST_ROUNDS):
        centroids = np.diff(sums[ends]) / np.diff(ends)
        previous, ends = ends, _ends(values, centroids)
        if np.array_equal(previous, ends):
            break
    return centroids


def _ends(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Where the values of each centroid begin and end; a centroid without any is dropped."""
    middles = (centroids[1:] + centroids[:-1]) / 2
    return np.unique(np.concatenate([[0], np.searchsorted(values, middles), [len(values)]]))


def _split(values: np.ndarray, sums: np.ndarray, clusters: int) -> np.ndarray:
    """The ends of so many intervals of sorted `values`, whose running sums are `sums`."""
    squares = np.concatenate([[0.0], np.cumsum(values**2)])

    def entry(i: int, j: int) -> tuple[float, int, int]:
        return (sums[j] - sums[i]) ** 2 / (j - i) - (squares[j] - squares[i]), i, j  # the most negative comes first

    heap, ends = [entry(0, len(values))], {0, len(values)}
    while heap and len(ends) <= clusters:
        _, i, j = heapq.heappop(heap)
        if values[i] == values[j - 1]:
            continue
        cut = np.arange(i + 1, j)
        gain = (sums[cut] - sums[i]) ** 2 / (cut - i) + (sums[j] - sums[cut]) ** 2 / (j - cut)
        middle = int(cut[np.argmax(gain)])
        ends.add(middle)
        heapq.heappush(heap, entry(i, middle))
        heapq.heappush(heap, entry(middle, j))
    return np.array(sorted(ends))


def nearest(values: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """The centroid next to each value, of the values' shape and dtype. `centroids` ascend."""
    index = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)
    return centroids.astype(values.dtype)[index]
