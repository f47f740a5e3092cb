"""What of the forward pass is kept for the backward pass, and what is computed again, within a budget of bytes."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Sequence

from tflite_export.arena import plan
from tflite_export.compilation import compile_signature, runtime_of
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Op
from tflite_export.passes.one_bit_gradients import ONE_BIT
from tflite_export.passes.rematerialise import (
    Segment,
    elementwise_segment,
    rematerialise,
    segments,
    weight_segment,
)

_UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}


class BudgetTooSmall(ValueError):
    """No plan of a training step fits into its `memory_budget`; `needed` bytes would do."""

    def __init__(self, message: str, needed: int):
        super().__init__(message)
        self.needed = needed


def parse_bytes(budget: int | str | None) -> int | None:
    """Bytes of a `memory_budget`: a number of bytes, or text such as "256KB" or "7.5 MB", in steps of 1024.

    Raises:
        ValueError: anything else.
    """
    if budget is None:
        return None
    if isinstance(budget, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMG]?B)?\s*", budget, re.IGNORECASE | re.ASCII)
        nbytes = int(float(match[1]) * _UNITS[(match[2] or "").upper()]) if match else 0
    else:
        nbytes = budget if isinstance(budget, int) and not isinstance(budget, bool) else 0
    if nbytes <= 0:
        raise ValueError(
            f'memory_budget must be a positive number of bytes, or text such as "256KB" or "8MB". Received: {budget!r}'
        )
    return nbytes


def in_parts_that_fit(counts: Sequence[int], compiled: Callable[[int], object]):
    """What `compiled` makes of the first of `counts` with which the step fits its budget.

    Raises:
        BudgetTooSmall: it does with none of them; the error that names the least.
    """
    refused = []
    for count in counts:
        try:
            return compiled(count)
        except BudgetTooSmall as error:
            refused.append(error)
    raise min(refused, key=lambda error: error.needed)


def within_budget(
    step: Graph,
    forward: Graph,
    form: str,
    budget: int | None,
    arena: Callable[[Graph], int] | None = None,
    savings: Sequence[str] = (),
) -> Graph:
    """A canonical training step that computes again what is not worth keeping.

    Without a budget, that is only what costs next to nothing: kernels that are standardized, and maps that follow from
    others by elementwise arithmetic. With one, so many parts of the forward pass are run twice that the planned arena
    fits, those first that free most bytes for each multiplication.

    Args:
        step: ``train`` or ``accumulate``, whose operators begin with those of `forward`.
        forward: the canonical forward graph.
        form: what the step will be compiled for.
        budget: bytes that may be planned.
        arena: what a canonical step like this plans, with all that is planned beside it; its own arena if None.
        savings: what else takes less memory, for the message of BudgetTooSmall.

    Raises:
        BudgetTooSmall: not even the smallest plan fits; it says what would.
    """
    if budget is None:
        return recompute(step, forward.ops, ())
    kept = [segment for segment in segments(step, forward.ops) if segment.kept_bytes]
    ranked = sorted(kept, key=lambda segment: -segment.kept_bytes / max(1, segment.multiplications))

    @functools.cache
    def needed(count: int) -> int:
        chosen = recompute(step, forward.ops, ranked[:count])
        return arena_bytes(chosen, form) if arena is None else arena(chosen)

    fewest, most = 0, len(ranked)
    if needed(0) <= budget:
        most = 0
    elif needed(most) > budget:  # more copies do not always take less
        fewest = most = min((len(ranked) * quarter // 4 for quarter in range(5)), key=needed)
    if needed(most) > budget:
        raise BudgetTooSmall(
            f"memory_budget={budget:,} bytes is too small: a training step needs an arena of at least "
            f"{needed(most):,} bytes. What takes less: "
            + ", ".join(("fewer layers (train_from='budget' finds how many)", *savings, "smaller images")),
            needed=needed(most),
        )
    while fewest < most:
        middle = (fewest + most) // 2
        if needed(middle) <= budget:
            most = middle
        else:
            fewest = middle + 1
    return recompute(step, forward.ops, ranked[:most])


def savings(forward: Graph, options: ExportOptions, one_bit: bool) -> list[str]:
    """Options of `export` that would take less memory, as BudgetTooSmall words them.

    Args:
        forward: the canonical forward graph.
        options: in final form.
        one_bit: whether the caller has an option activation_gradients.
    """
    found = []
    if options.rows > 1:
        names = "batch_size" if options.runtime == "micro" else "batch_size, micro_batch"
        found.append(f"fewer rows at once ({names})")
    if one_bit and any(op.kind in ONE_BIT for op in forward.ops):
        found.append("activation_gradients='one_bit' (of hard-swish and swish)")
    return found


def recompute(step: Graph, forward: Sequence[Op], chosen: Iterable[Segment]) -> Graph:
    """`step` with the `chosen` segments, derived kernels and cheap arithmetic computed again where they are needed."""
    step = rematerialise(step, forward, chosen)
    step = rematerialise(step, forward, [weight_segment(step, forward)])
    return rematerialise(step, forward, [elementwise_segment(step, forward)])


def arena_bytes(step: Graph, form: str, frozen: str = "float32") -> int:
    """The planned arena of a canonical graph that is compiled to `form`, with `frozen` kernels."""
    return plan(compile_signature(step, form, frozen), runtime_of(form)).total_bytes
