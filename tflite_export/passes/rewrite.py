"""The one loop that every local rewrite goes through."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, consumers

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


class Written:
    """Finds the operator in a growing builder that writes a tensor; for rules that look at what stands before them."""

    def __init__(self):
        self._table: dict[Tensor, Op] = {}
        self._seen = 0

    def by(self, b: Builder, tensor: Tensor | None) -> Op | None:
        for op in b.ops[self._seen :]:
            self._table.update(dict.fromkeys(op.outputs, op))
        self._seen = len(b.ops)
        return self._table.get(tensor)


def read_once(graph: Graph) -> set[Tensor]:
    """The tensors that one operator reads, and that are no outputs."""
    outputs = set(graph.outputs.values())
    return {t for t, readers in consumers(graph.ops).items() if len(readers) == 1 and t not in outputs}
