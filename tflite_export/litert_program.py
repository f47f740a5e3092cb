"""A file for LiteRT: the signatures infer, train, save, restore and info."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_export import signatures
from tflite_export.compilation import compile_signature
from tflite_export.graph import Graph, Program, Variable


def assemble(train: Graph, forward: Graph, variables: Sequence[Variable], form: str, info: bytes) -> Program:
    """The program of a canonical training step.

    Args:
        train: the training step.
        forward: the model's canonical forward graph, at the batch size of ``infer``.
        variables: all that ``save`` and ``restore`` speak of, in order.
        form: "xnnpack" or "builtin".
        info: the JSON of the ``info`` signature.
    """
    graphs = (  # subgraph 0 is infer: a legacy run must never train
        signatures.infer(forward),
        train,
        signatures.save(variables),
        signatures.restore(variables),
        signatures.info(info),
    )
    return Program(tuple(compile_signature(graph, form) for graph in graphs))
