"""From the forward pass to the training step: loss, gradients, updates."""

from __future__ import annotations

from collections.abc import Mapping

from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder, constant
from tflite_export.graph import MASKS, Graph, Op, Tensor, Variable
from tflite_export.step_loss import StepLoss, final_layer, loss_of, peel_activation
from tflite_export.updates import OptimizerState, Updates
from tflite_export.weight_penalties import penalized, penalty

__all__ = ["OptimizerState", "final_layer", "gradients_of", "in_order", "peel_activation", "training_step"]

NO_PENALTIES: Mapping[str, float] = {}


def training_step(
    forward: Graph,
    loss,
    optimizer,
    state: OptimizerState,
    penalties: Mapping[str, float] = NO_PENALTIES,
    whole_updates: bool = False,
) -> Graph:
    """The signature ``train`` of a canonical forward graph, still canonical.

    Where x or the logits hold a NaN or an infinity, or no row of the batch counts, every variable keeps its value: the
    gradient that enters at the logits is then zero, and so is all that is computed from it. Only a gradient that also
    reads an activation (a kernel's) can still turn 0 * NaN into NaN; its update is selected away.

    Args:
        forward: the graph.
        loss: that of the only output, or an `OutputLoss` for each output that trains.
        optimizer: `SGD` or `Adam`.
        state: what it keeps.
        penalties: the l2 of every variable that has one (`weight_penalties`).
        whole_updates: whether a variable's update is one OPTIMIZER_STEP.
    """
    b = Builder("loss")
    step = loss_of(b, forward, loss)
    finite = b.op("ALL_FINITE", step.checked, (1,), "bool")
    gradients = gradients_of(b, forward, step)
    learning_rate = Tensor("learning_rate", (1,))
    unsafe = _reads_activations(forward, b)
    gate = None
    if penalties or not optimizer.zero_gradient_means_no_change:
        gate = b.mul(b.op("ONE_IF_FINITE", step.checked, (1,)), b.minimum(step.count, constant(1)))
    results = with_penalty(b, step, gradients, penalties)
    used_gate = None if optimizer.zero_gradient_means_no_change else gate
    updates = Updates(b, optimizer, state, learning_rate, used_gate, whole_updates)
    for variable, gradient in gradients.items():
        with b.at(variable.name):
            total = penalized(b, variable, gradient, penalties, gate)
        updates.apply(variable, total, only_if=finite if gradient in unsafe else None)

    inputs = {**forward.inputs, **step.labels, "learning_rate": learning_rate}
    return Graph("train", inputs, results, in_order(forward, b))


def with_penalty(b: Builder, step: StepLoss, variables, penalties: Mapping[str, float]) -> dict[str, Tensor]:
    """The results of the step, whose loss is Keras's: with the penalties of `variables`."""
    total = penalty(b, variables, penalties)
    return {**step.results, "loss": step.loss if total is None else b.add(step.loss, total)}


def in_order(forward: Graph, step: Builder) -> tuple[Op, ...]:
    """The operators of both; those that check the inputs come first, when nothing else is in memory."""
    return tuple(sorted((*forward.ops, *step.ops), key=lambda op: op.kind != "CHECKED_INPUT"))


def gradients_of(b: Builder, forward: Graph, loss: StepLoss, mean: bool = True) -> dict[Variable, Tensor]:
    """Adds the gradient of a loss by every variable that the graph reads to `b`.

    Args:
        mean: whether of the mean over the rows that count, or of their sum.

    Raises:
        ValueError: nothing trains.
        NotDifferentiable: an operator has no gradient.
    """
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}
    if not reads:
        raise ValueError("nothing in the model is trainable; convert it with method 'last', 'bias' or 'full' first")
    gradients = differentiate(forward.ops, loss.seeds(b, mean), reads, b)
    return {reads[tensor]: gradient for tensor, gradient in gradients.items()}


def _reads_activations(forward: Graph, backward: Builder) -> set[Tensor]:
    """Tensors that a NaN in the forward pass can reach although the gradient at the logits is zero."""
    tainted = set(forward.inputs.values())
    for op in (*forward.ops, *backward.ops):
        if op.kind not in (*MASKS, "ZERO_UNLESS_FINITE") and tainted.intersection(op.inputs):
            tainted.update(op.outputs)
    return tainted
