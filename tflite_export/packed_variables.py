"""Many small variables that a file holds as one.

LiteRT keeps about a kilobyte for every operator, and a step takes a dozen of them for each variable: a handle, a read,
a sum, an update, an initial value, in every signature. Biases and the like are vectors of some hundred numbers. Laid
end to end they need those operators once, and no arithmetic changes. Outside of the file nobody sees it: ``save`` and
``restore`` speak of the members by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Tensor, Variable

NAME = "vectors"


@dataclasses.dataclass(frozen=True, eq=False)
class PackedVariable(Variable):
    """A vector: the values of `members`, one after the other."""

    members: tuple[Variable, ...] = ()

    @classmethod
    def of(cls, name: str, members: Iterable[Variable]) -> PackedVariable:
        members = tuple(members)
        return cls(name, np.concatenate([member.initial for member in members]), members)

    @property
    def sizes(self) -> list[int]:
        return [member.initial.size for member in self.members]


def pack_vectors(variables: Iterable[Variable], apart: Container[str] = ()) -> tuple[Variable, ...]:
    """`variables` as a file stores them: the float32 vectors among them as one, unless their name is in `apart`."""
    variables = tuple(variables)
    vectors = [v for v in variables if len(v.shape) == 1 and v.dtype == "float32" and v.name not in apart]
    if len(vectors) < 2:
        return variables
    packed = PackedVariable.of(NAME, vectors)
    return (packed, *(v for v in variables if v not in vectors))


def zeros_beside(variable: Variable, suffix: str) -> Variable:
    """A variable of zeros that goes with `variable`: ``<name>/<suffix>``, and so its members."""
    name = f"{variable.name}/{suffix}"
    if isinstance(variable, PackedVariable):
        return PackedVariable.of(name, [zeros_beside(member, suffix) for member in variable.members])
    return Variable(name, np.zeros(variable.shape, np.float32))


def members_of(variables: Iterable[Variable]) -> list[Variable]:
    """Every variable by itself."""
    return [m for v in variables for m in (v.members if isinstance(v, PackedVariable) else (v,))]


def values_by_name(b: Builder, variables: Iterable[Variable]) -> dict[str, Tensor]:
    """Reads every variable; those that are packed by themselves."""
    found = {}
    for variable in variables:
        value = b.read(variable)
        if isinstance(variable, PackedVariable):
            names = [member.name for member in variable.members]
            found.update(zip(names, b.split(value, variable.sizes, names), strict=True))
        else:
            found[variable.name] = value
    return found


def packed_value(b: Builder, variable: Variable, values: Mapping[str, Tensor]) -> Tensor:
    """The value to assign to `variable`, of those of its members by name."""
    if isinstance(variable, PackedVariable):
        return b.concatenate([values[member.name] for member in variable.members], 0)
    return values[variable.name]
