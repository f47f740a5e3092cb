"""The one loop that every local rewrite goes through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor

Rule = Callable[[Builder, Op], Tensor | tuple[Tensor, ...] | None]


def rewrite(graph: Graph, rules: Mapping[str, Rule]) -> Graph:
    """Exchanges every operator whose kind has a rule by what the rule builds.

    A rule adds operators to the builder and returns the tensor that takes the place of the operator's output (a tuple
    of them where it has several), or None to keep the operator as it is.
    """
    builder = Builder()
    replacement: dict[Tensor, Tensor] = {}
    for op in graph.ops:
        if any(t in replacement for t in op.inputs):
            op = dataclasses.replace(op, inputs=tuple(replacement.get(t, t) for t in op.inputs))
        rule = rules.get(op.kind)
        with builder.at(op.origin):
            result = rule(builder, op) if rule else None
        if result is None:
            builder.copy(op)
        else:
            replacement.update(zip(op.outputs, result if isinstance(result, tuple) else (result,), strict=True))
    outputs = {name: replacement.get(t, t) for name, t in graph.outputs.items()}
    return graph.replace(ops=tuple(builder.ops), outputs=outputs)
