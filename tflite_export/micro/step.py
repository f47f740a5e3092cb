"""From the forward pass in C operators to the training step."""

from __future__ import annotations

import dataclasses

from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.micro.fused import fuse
from tflite_export.micro.regions import in_order_for_rows
from tflite_export.micro.rules import RULES
from tflite_export.micro.saved import convert_again, save_for_backward

LOSSES = {
    "sparse_categorical_crossentropy": "sparse_cross_entropy",
    "categorical_crossentropy": "dense_cross_entropy",
    "mean_squared_error": "squared_error",
    "binary_crossentropy": "binary_cross_entropy",
}


def training_step(forward: Graph, loss) -> Graph:
    """The training step of a forward graph in C operators, whose updates are fused with the gradients they use.

    Args:
        forward: from ``x`` to ``logits``, what the loss compares with the labels.
        loss: one of `tflite_export.losses`.

    Raises:
        ValueError: nothing trains, or the loss has no kernel.
        NotDifferentiable: a trainable does not reach the loss.
    """
    reads = {op.outputs[0]: op.attributes["variable"] for op in forward.ops if op.kind == "READ_VARIABLE"}
    if not reads:
        raise ValueError("nothing in the model is trainable; convert it with method 'last' or 'bias' first")
    (logits,) = forward.outputs.values()
    sparse = loss.name == "sparse_categorical_crossentropy"
    y = Tensor("y", (1,) if sparse else (1, logits.size), "int32" if sparse else "float32")
    b = Builder("loss")
    smoothing = getattr(loss, "label_smoothing", 0.0)
    seed = b.op(LOSSES[loss.name], (logits, y), logits.shape, label_smoothing=smoothing)
    gradients = differentiate(forward.ops, {logits: seed}, reads, b, RULES)
    for tensor, gradient in gradients.items():
        b.copy(Op("update", (gradient,), (), {"variable": reads[tensor]}, reads[tensor].name))
    ops = in_order_for_rows((*forward.ops, *(_as_kernel(op) for op in b.ops)))
    return convert_again(fuse(save_for_backward(Graph("train", {**forward.inputs, "y": y}, {}, ops))))


def _as_kernel(op: Op) -> Op:
    """The sum of two contributions to a gradient is TFLite's ADD to `differentiate`."""
    return dataclasses.replace(op, kind="add", attributes={"activation": "NONE"}) if op.kind == "ADD" else op


def check_updates(step: Graph) -> None:
    """Proves that nothing reads a variable behind its update.

    Raises:
        RuntimeError: an operator would read the new value.
    """
    values = {op.outputs[0]: op.attributes["variable"] for op in step.ops if op.kind == "READ_VARIABLE"}
    updated = set()
    for op in step.ops:
        for tensor in op.inputs:
            if values.get(tensor) in updated:
                raise RuntimeError(f"{op} reads {tensor.name!r} after its update")
        if op.kind != "READ_VARIABLE" and "variable" in op.attributes:
            updated.add(op.attributes["variable"])
