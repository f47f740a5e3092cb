"""Reverse-mode differentiation of a canonical graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tflite_export.autodiff.advice import ADVICE
from tflite_export.autodiff.registry import RULES, NotDifferentiable, Rule
from tflite_export.builder import Builder
from tflite_export.graph import Op, Tensor


def differentiate(
    ops: Iterable[Op],
    seeds: Mapping[Tensor, Tensor],
    targets: Iterable[Tensor],
    builder: Builder,
    rules: Mapping[str, Rule] = RULES,
) -> dict[Tensor, Tensor]:
    """Adds the backward pass of `ops` to `builder` and returns the gradient of every target.

    Args:
        ops: the forward pass in execution order. Operators that have a rule have one output, but for SPLIT
            and SPLIT_V.
        seeds: for tensors at its end, the gradient that enters there.
        targets: the tensors to differentiate by. Only what they need is built.
        builder: receives the operators of the backward pass.
        rules: a vector-Jacobian product for each kind of operator.

    Raises:
        NotDifferentiable: an operator on the way has no rule, or a target is not reached.
    """
    ops, targets = tuple(ops), tuple(targets)
    needed = set(targets)
    for op in ops:
        if any(t in needed for t in op.inputs):
            needed.update(op.outputs)

    gradients = dict(seeds)
    for op in reversed(ops):
        if op.kind == "READ_VARIABLE" or not any(out in gradients for out in op.outputs):
            continue
        wanted = [t in needed for t in op.inputs]
        if not any(wanted):
            continue
        if op.kind not in rules:
            advice = f" ({ADVICE[op.kind]})" if op.kind in ADVICE else ""
            raise NotDifferentiable(
                f"layer {op.origin!r}: no gradient rule for {op.kind} at {list(op.outputs[0].shape)}. Train only what "
                "lies behind it: train_from='<a layer behind it>', or convert the model with method 'last'. Or replace "
                f"the layer{advice}"
            )
        with builder.at(op.origin):
            arriving = tuple(gradients.get(out) for out in op.outputs)
            contributions = rules[op.kind](builder, op, arriving if len(arriving) > 1 else arriving[0], wanted)
            for tensor, contribution in zip(op.inputs, contributions):
                if contribution is None or tensor not in needed:
                    continue
                if tensor in gradients:
                    contribution = builder.add(gradients[tensor], contribution)
                gradients[tensor] = contribution
    missing = [t.name for t in targets if t not in gradients]
    if missing:
        raise NotDifferentiable(f"the loss does not depend on {', '.join(missing)}; freeze what is not used")
    return {t: gradients[t] for t in targets}
