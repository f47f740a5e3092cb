"""A softmax or sigmoid in front of an output's last change of shape goes behind it, where the loss peels it off."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, consumers, producers


def probabilities_last(graph: Graph) -> Graph:
    """`graph`, canonical, with logits reshaped in place of the probabilities that are made of them.

    Else `peel_activation` would not see them, and the loss would take probabilities for logits.
    """
    table, readers, outputs = producers(graph.ops), consumers(graph.ops), set(graph.outputs.values())
    dropped: set[Op] = set()
    added: dict[Op, list[Op]] = {}
    for output in outputs:
        last, tensor, reshapes = table.get(output), output, []
        while (op := table.get(tensor)) is not None and op.kind == "RESHAPE":
            reshapes.append(op)
            tensor = op.inputs[0]
            if tensor in outputs or len(readers[tensor]) > 1:
                break
        else:
            keeps_classes = tensor.shape[-1:] == output.shape[-1:]
            if reshapes and op is not None and (op.kind == "LOGISTIC" or (op.kind == "SOFTMAX" and keeps_classes)):
                b = Builder(op.origin)
                logits = b.reshape(op.inputs[0], output.shape)
                b.copy(Op(op.kind, (logits,), (output,), op.attributes, op.origin))
                dropped.update((*reshapes, op))
                added[last] = b.ops
    ops = (new for op in graph.ops for new in (added.get(op, ()) if op in dropped else (op,)))
    return graph.replace(ops=tuple(ops))
