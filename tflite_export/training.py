"""From the forward pass to the training step: loss, gradients, updates."""

from __future__ import annotations

from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder, constant
from tflite_export.graph import MASKS, Graph, Op, Tensor, Variable, producers
from tflite_export.losses.base import LossTensors
from tflite_export.updates import OptimizerState, Updates


def peel_activation(forward: Graph) -> tuple[Tensor, str]:
    """The logits of the only output, and the name of the final activation that was peeled off ("linear" if none)."""
    (output,) = forward.outputs.values()
    last = producers(forward.ops).get(output)
    if last is not None and last.kind == "SOFTMAX" and last.attributes.get("beta", 1.0) == 1.0:
        return last.inputs[0], "softmax"
    if last is not None and last.kind == "LOGISTIC":
        return last.inputs[0], "sigmoid"
    return output, "linear"


def final_layer(forward: Graph) -> tuple[str, int]:
    """The activation that the model ends in, and how many values its last axis has."""
    logits, activation = peel_activation(forward)
    return activation, logits.shape[-1]


def training_step(forward: Graph, loss, optimizer, state: OptimizerState) -> Graph:
    """The signature ``train`` of a canonical forward graph, still canonical.

    Where x or the logits hold a NaN or an infinity, or no row of the batch counts, every variable keeps its value: the
    gradient that enters at the logits is then zero, and so is all that is computed from it. Only a gradient that also
    reads an activation (a kernel's) can still turn 0 * NaN into NaN; its update is selected away.
    """
    b = Builder("loss")
    tensors, checked = loss_of(b, forward, loss)
    finite = b.op("ALL_FINITE", checked, (1,), "bool")
    gradients = gradients_of(b, forward, checked[0], tensors)
    learning_rate = Tensor("learning_rate", (1,))
    unsafe = _reads_activations(forward, b)
    gate = None
    if not optimizer.zero_gradient_means_no_change:
        gate = b.mul(b.op("ONE_IF_FINITE", checked, (1,)), b.minimum(tensors.rows.count, constant(1)))
    updates = Updates(b, optimizer, state, learning_rate, gate)
    for variable, gradient in gradients.items():
        updates.apply(variable, gradient, only_if=finite if gradient in unsafe else None)

    inputs = {**forward.inputs, "y": tensors.labels, "learning_rate": learning_rate}
    outputs = {"loss": tensors.loss, "correct": tensors.correct}
    return Graph("train", inputs, outputs, in_order(forward, b))


def loss_of(b: Builder, forward: Graph, loss) -> tuple[LossTensors, tuple[Tensor, ...]]:
    """Adds the loss of a canonical forward graph to `b`.

    Returns:
        The loss, and what must be finite for it to train: the prediction, then a number for each input.

    Raises:
        ValueError: the loss does not fit the output.
    """
    logits, _ = peel_activation(forward)
    (output,) = forward.outputs.values()
    prediction = logits if loss.of_logits else output
    if loss.of_logits and len(prediction.shape) != 2:
        raise ValueError(f"the model's output must be [batch, classes], got {list(prediction.shape)}")
    inputs = [b.op("CHECKED_INPUT", (x,), (1,)) for x in forward.inputs.values() if x.dtype == "float32"]
    return loss.build(b, prediction, inputs), (prediction, *inputs)


def in_order(forward: Graph, step: Builder) -> tuple[Op, ...]:
    """The operators of both; those that check the inputs come first, when nothing else is in memory."""
    return tuple(sorted((*forward.ops, *step.ops), key=lambda op: op.kind != "CHECKED_INPUT"))


def gradients_of(
    b: Builder, forward: Graph, prediction: Tensor, loss: LossTensors, mean: bool = True
) -> dict[Variable, Tensor]:
    """Adds the gradient of a loss by every variable that the graph reads to `b`.

    Args:
        prediction: what the loss compares with the labels.
        mean: whether of the mean over the rows that count, or of their sum.

    Raises:
        ValueError: nothing trains.
        NotDifferentiable: an operator has no gradient.
    """
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}
    if not reads:
        raise ValueError("nothing in the model is trainable; convert it with method 'last', 'bias' or 'full' first")
    seed = loss.gradient(b, prediction.shape, mean)
    gradients = differentiate(forward.ops, {prediction: seed}, reads, b)
    return {reads[tensor]: gradient for tensor, gradient in gradients.items()}


def _reads_activations(forward: Graph, backward: Builder) -> set[Tensor]:
    """Tensors that a NaN in the forward pass can reach although the gradient at the logits is zero."""
    tainted = set(forward.inputs.values())
    for op in (*forward.ops, *backward.ops):
        if op.kind not in (*MASKS, "ZERO_UNLESS_FINITE") and tainted.intersection(op.inputs):
            tainted.update(op.outputs)
    return tainted
