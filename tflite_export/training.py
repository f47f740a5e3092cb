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

    Every update of the step is gated: where the logits hold a NaN or an infinity, or no row of the batch is valid,
    each variable keeps its value.
    """
    logits, _ = peel_activation(forward)
    if len(logits.shape) != 2:
        raise ValueError(f"the model's output must be [batch, classes], got {list(logits.shape)}")
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}

    b = Builder("loss")
    tensors = loss.build(b, logits)
    finite = b.op("ALL_FINITE", (logits,), (1,), "bool")
    apply = b.binary("LOGICAL_AND", finite, tensors.valid)
    gradients = differentiate(forward.ops, {logits: tensors.gradient}, reads, b)

    learning_rate = Tensor("learning_rate", (1,))
    for value, gradient in gradients.items():
        variable = reads[value]
        with b.at(variable.name):
            updated = optimizer.update(b, variable, gradient, learning_rate)
            b.assign(variable, b.select(apply, updated, b.read(variable)))

    inputs = {**forward.inputs, "y": tensors.labels, "learning_rate": learning_rate}
    outputs = {"loss": tensors.loss, "correct": tensors.correct}
    return Graph("train", inputs, outputs, (*forward.ops, *b.ops))
