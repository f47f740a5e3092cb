"""Where the gradient rules are found.

A rule is a vector-Jacobian product: ``rule(builder, op, gradient, wanted)`` adds the operators of the backward pass and
returns one gradient per input of `op`, None where `wanted` says that nobody asks for it. `gradient` has the shape of
the operator's output and is the derivative of a scalar with respect to it; of an operator with several outputs it is a
tuple, with None for outputs that the scalar does not depend on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tflite_export.builder import Builder
from tflite_export.graph import Op, Tensor

Rule = Callable[[Builder, Op, Tensor | tuple[Tensor | None, ...], Sequence[bool]], Sequence[Tensor | None]]
RULES: dict[str, Rule] = {}


class NotDifferentiable(ValueError):
    """The message names the layer and the operator, and what to do about it."""


def rule(*kinds: str) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        twice = RULES.keys() & kinds
        if twice:
            raise RuntimeError(f"two gradient rules for {', '.join(sorted(twice))}")
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return register
