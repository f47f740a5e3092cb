"""From the forward pass to the training step: loss, gradients, updates."""

from __future__ import annotations

from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder
from tflite_export.graph import Graph, Tensor, producers


def peel_activation(forward: Graph) -> tuple[Tensor, str]:
    """The logits of the only output, and the name of the final activation that was peeled off ("linear" if none)."""
    (output,) = forward.outputs.values()
    last = producers(forward.ops).get(output)
    if last is not None and last.kind == "SOFTMAX" and last.attributes.get("beta", 1.0) == 1.0:
        return last.inputs[0], "softmax"
    if last is not None and last.kind == "LOGISTIC":
        return last.inputs[0], "sigmoid"
    return output, "linear"


def training_step(forward: Graph, loss, optimizer) -> Graph:
    """The signature ``train`` of a canonical forward graph, still canonical.

    Where the logits hold a NaN or an infinity, or no row of the batch is valid, every variable keeps its value: the
    gradient that enters at the logits is then zero, and so is all that is computed from it. Only a gradient that also
    reads an activation (a kernel's) can still turn 0 * NaN into NaN; its update is selected away.
    """
    logits, _ = peel_activation(forward)
    if len(logits.shape) != 2:
        raise ValueError(f"the model's output must be [batch, classes], got {list(logits.shape)}")
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}
    if not reads:
        raise ValueError("nothing in the model is trainable; convert it with method 'last', 'bias' or 'full' first")

    b = Builder("loss")
    tensors = loss.build(b, logits)
    finite = b.op("ALL_FINITE", (logits,), (1,), "bool")
    gradients = differentiate(forward.ops, {logits: tensors.gradient}, reads, b)
    unsafe = _reads_activations(forward, b)

    learning_rate = Tensor("learning_rate", (1,))
    for tensor, gradient in gradients.items():
        variable = reads[tensor]
        with b.at(variable.name):
            value = b.read(variable)
            updated = optimizer.update(b, value, gradient, learning_rate)
            b.assign(variable, b.select(finite, updated, value) if gradient in unsafe else updated)

    inputs = {**forward.inputs, "y": tensors.labels, "learning_rate": learning_rate}
    outputs = {"loss": tensors.loss, "correct": tensors.correct}
    return Graph("train", inputs, outputs, (*forward.ops, *b.ops))


def _reads_activations(forward: Graph, backward: Builder) -> set[Tensor]:
    """Tensors that a NaN in the forward pass can reach although the gradient at the logits is zero."""
    tainted = set(forward.inputs.values())
    for op in (*forward.ops, *backward.ops):
        if op.kind not in ("ACTIVATION_MASK", "ZERO_UNLESS_FINITE") and tainted.intersection(op.inputs):
            tainted.update(op.outputs)
    return tainted
