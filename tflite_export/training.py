"""From the forward pass to the training step: loss, gradients, updates."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Tensor, Variable, producers


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


@dataclasses.dataclass(frozen=True)
class OptimizerState:
    """The variables that an optimiser keeps: by name, beside every trainable one, and the count of steps."""

    slots: dict[Variable, dict[str, Variable]]
    step: Variable | None

    @classmethod
    def of(cls, optimizer, variables) -> OptimizerState:
        slots = {
            variable: {
                name: Variable(f"{variable.name}/{name}", np.zeros(variable.shape, np.float32))
                for name in optimizer.slots
            }
            for variable in variables
        }
        return cls(slots, Variable("step", np.zeros(1, np.float32)) if optimizer.counts_steps else None)

    @property
    def variables(self) -> tuple[Variable, ...]:
        kept = [slot for slots in self.slots.values() for slot in slots.values()]
        return (*kept, *([] if self.step is None else [self.step]))


def training_step(forward: Graph, loss, optimizer, state: OptimizerState) -> Graph:
    """The signature ``train`` of a canonical forward graph, still canonical.

    Where x or the logits hold a NaN or an infinity, or no row of the batch counts, every variable keeps its value: the
    gradient that enters at the logits is then zero, and so is all that is computed from it. Only a gradient that also
    reads an activation (a kernel's) can still turn 0 * NaN into NaN; its update is selected away.
    """
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}
    if not reads:
        raise ValueError("nothing in the model is trainable; convert it with method 'last', 'bias' or 'full' first")
    logits, _ = peel_activation(forward)
    (output,) = forward.outputs.values()
    prediction = logits if loss.of_logits else output
    if loss.of_logits and len(prediction.shape) != 2:
        raise ValueError(f"the model's output must be [batch, classes], got {list(prediction.shape)}")

    b = Builder("loss")
    inputs = [tensor for tensor in forward.inputs.values() if tensor.dtype == "float32"]
    tensors = loss.build(b, prediction, inputs)
    gradients = differentiate(forward.ops, {prediction: tensors.gradient}, reads, b)
    learning_rate = Tensor("learning_rate", (1,))
    updates = _Updates(b, forward, optimizer, state, (prediction, *inputs), tensors.count, learning_rate)
    for tensor, gradient in gradients.items():
        updates.apply(reads[tensor], gradient)

    inputs = {**forward.inputs, "y": tensors.labels, "learning_rate": learning_rate}
    outputs = {"loss": tensors.loss, "correct": tensors.correct}
    return Graph("train", inputs, outputs, (*forward.ops, *b.ops))


class _Updates:
    """Adds the optimiser's operators, each behind the gates that it needs."""

    def __init__(self, b, forward, optimizer, state, finite, count, learning_rate):
        self.b, self.optimizer, self.state, self.learning_rate = b, optimizer, state, learning_rate
        self.unsafe = _reads_activations(forward, b)
        self.finite = b.op("ALL_FINITE", finite, (1,), "bool")
        self.gate = None  # 1, or 0 for a step that must leave no trace
        if not optimizer.zero_gradient_means_no_change:
            one_if_finite = b.op("ONE_IF_FINITE", finite, (1,))
            self.gate = b.mul(one_if_finite, b.minimum(count, constant(1)))
        step = None
        if state.step is not None:
            step = b.add(b.read(state.step), self.gate)
            b.assign(state.step, step)
            step = b.maximum(step, constant(1))  # a refused first step divides by no zero
        self.rate = optimizer.prepare(b, learning_rate, step)

    def apply(self, variable: Variable, gradient: Tensor) -> None:
        b, slots = self.b, self.state.slots[variable]
        with b.at(variable.name):
            value = b.read(variable)
            values = {name: b.read(slot) for name, slot in slots.items()}
            changes = self.optimizer.changes(b, value, values, gradient, self.rate, self.learning_rate)
            for name, change in changes.items():
                target, old = (variable, value) if name == "" else (slots[name], values[name])
                new = b.add(old, change if self.gate is None else b.mul(change, self.gate))
                b.assign(target, b.select(self.finite, new, old) if gradient in self.unsafe else new)


def _reads_activations(forward: Graph, backward: Builder) -> set[Tensor]:
    """Tensors that a NaN in the forward pass can reach although the gradient at the logits is zero."""
    tainted = set(forward.inputs.values())
    for op in (*forward.ops, *backward.ops):
        if op.kind not in ("ACTIVATION_MASK", "ZERO_UNLESS_FINITE") and tainted.intersection(op.inputs):
            tainted.update(op.outputs)
    return tainted
