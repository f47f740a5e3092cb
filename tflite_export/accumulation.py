"""A training step in parts: ``accumulate`` adds up the gradients of micro-batches, ``apply`` takes the step.

The gradients of rows are summed, not averaged, and the rows that count are counted; ``apply`` divides. So a step over
micro-batches is the step over all their rows at once, whichever of them count. No statistic may cross samples
(`batch_independence`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.gradient_clipping import clip_factor, squared_norm
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.step_loss import loss_of
from tflite_export.stored_variables import zeros_beside
from tflite_export.training import NO_PENALTIES, gradients_of, in_order, with_penalty
from tflite_export.updates import OptimizerState, Updates
from tflite_export.weight_penalties import penalized


@dataclasses.dataclass(frozen=True)
class Accumulators:
    """What is summed since the last ``apply``. No part of what ``save`` and ``restore`` speak of.

    Attributes:
        sums: beside every trainable variable, the sum of the gradients of rows.
        count: float32 [1], the rows that count; NaN as soon as an input, a prediction or a sum was not finite. An
            infinity itself would not last: LiteRT's builtin kernels clamp it, and a later one of the other sign would
            cancel it.
    """

    sums: dict[Variable, Variable]
    count: Variable

    @classmethod
    def of(cls, variables: Iterable[Variable]) -> Accumulators:
        sums = {variable: zeros_beside(variable, "gradient_sum") for variable in variables}
        return cls(sums, Variable("accumulated_rows", np.zeros(1, np.float32)))


def accumulated_step(
    forward: Graph,
    loss,
    optimizer,
    state: OptimizerState,
    accumulators: Accumulators,
    clip_norm: float | None,
    penalties: Mapping[str, float] = NO_PENALTIES,
) -> tuple[Graph, Graph]:
    """The signatures ``accumulate``, of a canonical forward graph at the size of a micro-batch, and ``apply``."""
    return (
        accumulate(forward, loss, accumulators, penalties),
        apply(accumulators, optimizer, state, clip_norm, penalties),
    )


def accumulate(
    forward: Graph, loss, accumulators: Accumulators, penalties: Mapping[str, float] = NO_PENALTIES
) -> Graph:
    """``accumulate``: x, y -> loss, the mean over this micro-batch's rows that count, and correct. Still canonical.

    The loss has the penalties in it, the gradients have not: they are of the step, not of its rows.
    """
    b = Builder("loss")
    step = loss_of(b, forward, loss)
    gradients = gradients_of(b, forward, step, mean=False)
    results = with_penalty(b, step, gradients, penalties)
    magnitudes = []
    for variable, gradient in gradients.items():
        with b.at(variable.name):
            total = b.add(b.read(accumulators.sums[variable]), gradient)
            b.assign(accumulators.sums[variable], total)
            magnitudes.append(b.sum(b.unary("ABS", total), range(len(total.shape)), keep_dims=True))
    rank = max(len(m.shape) for m in magnitudes)
    magnitude = b.concatenate([b.reshape(m, [1] * rank) for m in magnitudes], 0)
    poison = b.add(step.poison, b.zero_or_nan((magnitude,)))
    b.assign(accumulators.count, b.add(b.add(b.read(accumulators.count), step.count), poison))
    return Graph("accumulate", {**forward.inputs, **step.labels}, results, in_order(forward, b))


def apply(
    accumulators: Accumulators,
    optimizer,
    state: OptimizerState,
    clip_norm: float | None,
    penalties: Mapping[str, float] = NO_PENALTIES,
) -> Graph:
    """``apply``: learning_rate float32 [1] -> applied int32 [1]. Still canonical.

    Where something was not finite, the norm that is to be clipped included, or no row counted, nothing but the
    accumulators changes and `applied` is 0. They are zeros afterwards either way.
    """
    b, learning_rate = Builder("apply"), Tensor("learning_rate", (1,))
    count = b.read(accumulators.count)

    def gradient_sum(variable: Variable, accumulator: Variable) -> Tensor:
        """Of all rows that count, and `count` times that of the penalty."""
        return penalized(b, variable, b.read(accumulator), penalties, gate=count)

    sums = accumulators.sums.items()
    squares = None if clip_norm is None else squared_norm(b, [gradient_sum(*pair) for pair in sums])
    finite = b.op("ALL_FINITE", (count,) if squares is None else (count, squares), (1,), "bool")
    counted = b.select(finite, count, constant(0))
    applied = b.minimum(counted, constant(1))
    factor = b.div(constant(1), b.maximum(counted, constant(1)))
    if squares is not None:
        norm = b.mul(b.unary("SQRT", squares), factor)
        factor = b.mul(factor, clip_factor(b, norm, clip_norm))
    gate = None if optimizer.zero_gradient_means_no_change else applied
    updates = Updates(b, optimizer, state, learning_rate, gate)
    for variable, accumulator in accumulators.sums.items():
        with b.at(variable.name):
            summed = penalized(b, variable, b.read(accumulator), penalties, gate=counted)
            gradient = b.select(finite, b.mul(summed, factor), constant(0))
            updates.apply(variable, gradient)
            b.assign(accumulator, b.unary("ZEROS_LIKE", gradient))  # not of the sum, which can go
    b.assign(accumulators.count, constant(0))
    applied = b.cast(applied, "int32")
    return Graph("apply", {"learning_rate": learning_rate}, {"applied": applied}, tuple(b.ops))
