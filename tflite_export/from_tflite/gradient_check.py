"""A gradient held against central differences of the forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.runtime.info import Description
from tflite_export.runtime.losses import LOSSES
from tflite_export.step_loss import peel_activation
from tflite_export.verify import VerificationError

TOLERANCE = 1e-3  # of the gradient's norm
STEP = 1e-7  # that every entry of a variable changes by, times a normal random number
_DRAWS = 4  # of a direction: one that leads over a kink (a ReLU that switches) says nothing, and the next may not
_ROUNDING = 1e-14  # of the loss in double precision, relative: what a difference of two of them cannot tell


def check_gradient(
    forward: Graph,
    variable: Variable,
    gradient: np.ndarray,
    weights: Mapping[Variable, np.ndarray],
    activations: Mapping[Tensor, np.ndarray],
    y: np.ndarray,
    description: Description,
    random: np.random.Generator,
) -> None:
    """Holds the derivative along a random direction, ``gradient · direction``, against a central difference.

    Only what depends on the variable is computed anew.

    Args:
        forward: the canonical forward graph.
        variable: the one that `gradient` belongs to.
        weights: the value of every variable, float64.
        activations: those of a batch, as `activations_of` gives them.
        y: its labels; all rows count.
        description: of the loss.
        random: directions are drawn from it.

    Raises:
        VerificationError: they differ along every direction drawn.
    """
    suffix = depending_on(forward, variable)
    known = {name: activations[tensor] for name, tensor in suffix.inputs.items()}
    differences, norm = [], np.linalg.norm(gradient)
    for _ in range(_DRAWS):
        direction = random.normal(size=variable.shape)
        ahead, behind = (
            _loss(suffix, known, {**weights, variable: weights[variable] + sign * STEP * direction}, y, description)
            for sign in (1, -1)
        )
        expected = (ahead - behind) / (2 * STEP)
        error = abs(expected - np.sum(gradient * direction))
        blur = _ROUNDING * max(1, abs(ahead)) / STEP
        if error <= TOLERANCE * norm + blur:
            return
        differences.append(error / norm if norm else error)
    found = f"differs from central differences of the loss by {min(differences):.1e} of its norm"
    if not norm:
        found = f"is zero, and differs from central differences of the loss, {min(differences):.1e}"
    raise VerificationError(
        f"the gradient of {variable.name!r} {found} (at most {TOLERANCE:.0e} of its norm is accepted). Please report "
        "the model; verify=False writes the file regardless."
    )


def activations_of(
    forward: Graph, x: Mapping[str, np.ndarray], weights: Mapping[Variable, np.ndarray]
) -> dict[Tensor, np.ndarray]:
    """The value of every tensor of a forward graph."""
    tensors = (*forward.inputs.values(), *(tensor for op in forward.ops for tensor in op.outputs))
    named = {str(i): tensor for i, tensor in enumerate(tensors)}
    values = evaluate(forward.replace(outputs=named), x, dict(weights))
    return {tensor: values[name] for name, tensor in named.items()}


def depending_on(forward: Graph, variable: Variable) -> Graph:
    """The part of `forward` behind `variable`, with the outputs ``output`` and ``logits``; its inputs are tensors of
    `forward`."""
    logits, _ = peel_activation(forward)
    (output,) = forward.outputs.values()
    reached, ops = set(), []
    for op in forward.ops:
        if op.attributes.get("variable") is variable or reached.intersection(op.inputs):
            reached.update(op.outputs)
            ops.append(op)
    graph = remove_dead_code(Graph("suffix", {}, {"output": output, "logits": logits}, tuple(ops)))
    taken = dict.fromkeys(t for op in graph.ops for t in op.inputs if t is not None and not t.is_constant)
    boundary = [tensor for tensor in taken if tensor not in reached]
    return graph.replace(inputs={f"x{i}": tensor for i, tensor in enumerate(boundary)})


def _loss(suffix: Graph, known: Mapping[str, np.ndarray], weights, y: np.ndarray, description: Description):
    """The mean over the rows, by the formula of the host."""
    values = evaluate(suffix, known, dict(weights))
    of_rows = LOSSES[description.loss].of_rows
    return of_rows(values["output"], values["logits"], y, description.label_smoothing).mean()
