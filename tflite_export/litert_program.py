"""A file for LiteRT: the signatures infer, train (or accumulate and apply), save, restore and info."""

from __future__ import annotations

from collections.abc import Sequence

from tflite_export import signatures
from tflite_export.accumulation import Accumulators
from tflite_export.compilation import compile_signature
from tflite_export.graph import Graph, Program, Variable


def assemble(
    step: Sequence[Graph],
    forward: Graph,
    form: str,
    frozen: str,
    *,
    kept: Sequence[Variable],
    accumulators: Accumulators | None,
    info: bytes,
) -> Program:
    """The program of a canonical training step.

    Args:
        step: the signatures of a training step.
        forward: the model's canonical forward graph, at the batch size of ``infer``.
        form: "xnnpack" or "builtin".
        frozen: what frozen kernels are stored as, "float32" or "int8".
        kept: the variables that ``save`` and ``restore`` speak of, in order.
        accumulators: what `step` accumulates in, if it does.
        info: the JSON of the ``info`` signature.
    """
    graphs = (  # subgraph 0 is infer: a legacy run must never train
        signatures.infer(forward),
        *step,
        signatures.save(kept),
        signatures.restore(kept, accumulators),
        signatures.info(info),
    )
    return Program(tuple(compile_signature(graph, form, frozen) for graph in graphs))
