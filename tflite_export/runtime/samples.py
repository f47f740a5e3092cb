"""Samples, labels and outputs: one array where a file has one input or output, else a dict of arrays by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Arrays = np.ndarray | dict[str, np.ndarray]


def each(function: Callable[[np.ndarray], np.ndarray], arrays: Arrays) -> Arrays:
    """What `function` makes of the array, or of every array of the dict."""
    return {name: function(a) for name, a in arrays.items()} if isinstance(arrays, dict) else function(arrays)


def count_rows(arrays: Arrays) -> int:
    """How many rows the array has, or every array of the dict."""
    return len(next(iter(arrays.values())) if isinstance(arrays, dict) else arrays)


def by_name(given, names: Sequence[str], argument: str) -> dict:
    """What is given for each of `names`: the values of a dict, or those of a list in this order.

    Raises:
        TypeError: it is neither.
        ValueError: a name is missing, or none of these; or the list is longer or shorter.
    """
    wanted = ", ".join(map(repr, names))
    if isinstance(given, Mapping):
        missing = [name for name in names if name not in given]
        unknown = [name for name in given if name not in names]
        if missing or unknown:
            problem = f"It lacks {missing}." if missing else f"It has {unknown} besides."
            raise ValueError(f"{argument} must have an array for each of {wanted}. {problem}")
        return {name: given[name] for name in names}
    if isinstance(given, list | tuple) and len(given) == len(names):
        return dict(zip(names, given, strict=True))
    if isinstance(given, list | tuple):
        raise ValueError(f"{argument} must have an array for each of {wanted}. Received: a list of {len(given)}")
    raise TypeError(
        f"{argument} must be a dict of arrays, with one for each of {wanted}, or a list of them in this order. "
        f"Received: {type(given).__name__}"
    )


def named(function: Callable, where: str, *arguments):
    """What `function` returns; its TypeError or ValueError says `where`, such as "x['image']"."""
    try:
        return function(*arguments)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from error
