"""Large kernels of group convolutions that a file holds as a variable for each group.

What reads or updates a variable has a copy of all of it in the arena, and a sum or a gradient beside that. Of the
largest kernels that is the peak of a step. No group has to do with another, so each can have its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence

import numpy as np

from tflite_export.graph import Variable

_LARGE = 1 << 19  # bytes of a kernel whose peak is worth some thirty operators more, of a kilobyte each


@dataclasses.dataclass(frozen=True, eq=False)
class PartVariable(Variable):
    """The values of the variable `whole` that belong to one group; the parts lie one after the other along `axis`."""

    whole: str = ""
    axis: int = 0


def by_group(
    variables: Iterable[Variable], groups: Mapping[Variable, tuple[int, int]], apart: Container[str] = ()
) -> tuple[Variable, ...]:
    """`variables` as a file stores them: large kernels in parts, unless their name is in `apart`.

    Args:
        groups: of kernels that can be stored so, the number of groups and the axis that they lie along.
    """
    stored: list[Variable] = []
    for variable in variables:
        if variable in groups and variable.initial.nbytes >= _LARGE and variable.name not in apart:
            count, axis = groups[variable]
            parts = np.split(variable.initial, count, axis)
            stored += [
                PartVariable(f"{variable.name}/group_{i}", part, variable.name, axis) for i, part in enumerate(parts)
            ]
        else:
            stored.append(variable)
    return tuple(stored)


def whole_shape(parts: Sequence[PartVariable]) -> tuple[int, ...]:
    """The shape of what `parts` are the parts of."""
    shape, axis = list(parts[0].shape), parts[0].axis
    shape[axis] = sum(part.shape[axis] for part in parts)
    return tuple(shape)
