"""Many small variables that a file holds as one.

LiteRT keeps about a kilobyte for every operator, and a step takes a dozen of them for each variable: a handle, a read,
a sum, an update, an initial value, in every signature. Biases and the like are vectors of some hundred numbers. Laid
end to end they need those operators once, and no arithmetic changes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable

import numpy as np

from tflite_export.graph import Variable

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
