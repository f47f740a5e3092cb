"""Large kernels that a file holds as a variable for each of their parts.

What reads or updates a variable has a copy of all of it in the arena, and a sum or a gradient beside that. Of the
largest kernels that is the peak of a step. No group of a group convolution has to do with another, nor has an output of
a dense layer, so each part can have its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from tflite_export.graph import Variable

_LARGE = 450_000  # bytes of a kernel whose peak is worth some thirty operators more, of a kilobyte each


@dataclasses.dataclass(frozen=True)
class Division:
    """How a kernel may be stored: in parts along `axis`, as many as one of `counts`, which rise."""

    axis: int
    counts: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class PartVariable(Variable):
    """A part of the values of the variable `whole`; the parts lie one after the other along `axis`."""

    whole: str = ""
    axis: int = 0


def in_parts(
    variables: Iterable[Variable], divisions: Mapping[Variable, Division], apart: Container[str] = ()
) -> tuple[Variable, ...]:
    """`variables` as a file stores them: large kernels in the fewest parts that are not, or the most there can be.

    Args:
        divisions: of kernels that can be stored so.
        apart: names of variables that stay whole.
    """
    stored: list[Variable] = []
    for variable in variables:
        division = None if variable.name in apart else divisions.get(variable)
        count = 1 if division is None else _count(variable.initial.nbytes, division.counts)
        if count == 1:
            stored.append(variable)
            continue
        parts = enumerate(np.array_split(variable.initial, count, division.axis))
        stored += [PartVariable(f"{variable.name}/part_{i}", part, variable.name, division.axis) for i, part in parts]
    return tuple(stored)


def _count(size: int, counts: Sequence[int]) -> int:
    return next((count for count in (1, *counts) if size < count * _LARGE), counts[-1])


def whole_shape(parts: Sequence[PartVariable]) -> tuple[int, ...]:
    """The shape of what `parts` are the parts of."""
    shape, axis = list(parts[0].shape), parts[0].axis
    shape[axis] = sum(part.shape[axis] for part in parts)
    return tuple(shape)
