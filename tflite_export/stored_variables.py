"""How a file holds what trains: some variables packed into one, some cut into parts.

Outside of the file nobody sees it: ``save`` and ``restore`` speak of every variable by its own name and as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Tensor, Variable
from tflite_export.packed_variables import PackedVariable
from tflite_export.part_variables import PartVariable, whole_shape


def zeros_beside(variable: Variable, suffix: str) -> Variable:
    """A variable of zeros that is stored as `variable` is and goes with it: ``<name>/<suffix>``."""
    name, zeros = f"{variable.name}/{suffix}", np.zeros(variable.shape, np.float32)
    if isinstance(variable, PackedVariable):
        return PackedVariable.of(name, [zeros_beside(member, suffix) for member in variable.members])
    if isinstance(variable, PartVariable):
        return PartVariable(name, zeros, f"{variable.whole}/{suffix}", variable.axis)
    return Variable(name, zeros)


def shapes_by_name(variables: Iterable[Variable]) -> dict[str, tuple[int, ...]]:
    """What ``save`` gives: the shape of everything that `variables`, as they are stored, stand for."""
    shapes = {}
    for name, group in _by_whole(variables):
        first = group[0]
        if isinstance(first, PackedVariable):
            shapes.update((member.name, member.shape) for member in first.members)
        else:
            shapes[name] = whole_shape(group) if isinstance(first, PartVariable) else first.shape
    return shapes


def values_by_name(b: Builder, variables: Iterable[Variable]) -> dict[str, Tensor]:
    """Reads what is stored, and makes of it what ``save`` gives."""
    values = {}
    for name, group in _by_whole(variables):
        first, read = group[0], [b.read(variable) for variable in group]
        if isinstance(first, PackedVariable):
            names = [member.name for member in first.members]
            values.update(zip(names, b.split(read[0], first.sizes, names), strict=True))
        else:
            values[name] = b.concatenate(read, first.axis) if len(read) > 1 else read[0]
    return values


def stored_values(b: Builder, variables: Iterable[Variable], values: Mapping[str, Tensor]) -> dict[Variable, Tensor]:
    """The value to assign to each of `variables`, made of what ``restore`` is given."""
    stored: dict[Variable, Tensor] = {}
    for name, group in _by_whole(variables):
        first = group[0]
        if isinstance(first, PackedVariable):
            stored[first] = b.concatenate([values[member.name] for member in first.members], 0)
        elif isinstance(first, PartVariable):
            stored.update(_cut(b, values[name], group))
        else:
            stored[first] = values[name]
    return stored


def _cut(b: Builder, value: Tensor, parts: Iterable[PartVariable]) -> Iterator[tuple[PartVariable, Tensor]]:
    """Each of `parts` with its slice of `value`; one at a time is in memory, where SPLIT would give all at once."""
    begin = 0
    for part in parts:
        end = begin + part.shape[part.axis]
        yield part, b.gather(value, range(begin, end), part.axis)
        begin = end


def _by_whole(variables: Iterable[Variable]) -> Iterable[tuple[str, list[Variable]]]:
    """Name and variables: the parts of one whole together, every other variable by itself."""
    found: dict[str, list[Variable]] = {}
    for variable in variables:
        found.setdefault(variable.whole if isinstance(variable, PartVariable) else variable.name, []).append(variable)
    return found.items()
