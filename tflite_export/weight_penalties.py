"""Keras's L2 regularizers: ``l2 * sum(weight ** 2)`` in the loss, and its gradient ``2 * l2 * weight``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tflite_export.builder import Builder
from tflite_export.graph import Tensor, Variable


def l2_penalties(model, variables: Iterable[Variable]) -> dict[str, float]:
    """The l2 of every one of `variables` whose weight in `model` has such a regularizer, by name.

    Weights that do not train have no part in Keras's loss, whatever their regularizer.

    Raises:
        ValueError: another regularizer.
    """
    weights = {weight.path: weight for weight in model.trainable_variables}
    found = {variable.name: _l2(weights[variable.name]) for variable in variables}
    return {name: l2 for name, l2 in found.items() if l2}


def _l2(weight) -> float:
    regularizer = getattr(weight, "regularizer", None)
    if regularizer is None:
        return 0.0
    import keras

    if type(regularizer) is keras.regularizers.L2:
        return float(regularizer.l2)
    if type(regularizer) is keras.regularizers.L1L2 and not float(regularizer.l1):
        return float(regularizer.l2)
    raise ValueError(
        f"the trainable weight {weight.path!r} has a regularizer, which the exported step would not apply: "
        f"{type(regularizer).__name__}; it knows keras.regularizers.L2 alone. Build the layer with that or without one "
        "(an optimizer's weight_decay does what an L2 regularizer is for), or freeze the weight"
    )


def penalty(b: Builder, variables: Iterable[Variable], l2: Mapping[str, float]) -> Tensor | None:
    """Adds the penalties of `variables` to `b`: float32 [1], or None where there is none."""
    total = None
    for variable in variables:
        if variable.name in l2:
            with b.at(variable.name):
                squares = b.unary("SQUARE", b.read(variable))  # not MUL(x, x): see gradient_clipping
                part = b.scale(b.reshape(b.sum(squares, range(len(variable.shape))), (1,)), l2[variable.name])
                total = part if total is None else b.add(total, part)
    return total


def penalized(
    b: Builder, variable: Variable, gradient: Tensor, l2: Mapping[str, float], gate: Tensor | None = None
) -> Tensor:
    """`gradient` and that of the variable's penalty times `gate`, float32 [1]: 0 for a step that changes nothing."""
    if variable.name not in l2:
        return gradient
    own = b.scale(b.read(variable), 2 * l2[variable.name])
    return b.add(gradient, own if gate is None else b.mul(own, gate))
