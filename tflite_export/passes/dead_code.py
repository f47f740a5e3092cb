"""Drops operators that nothing depends on: an unread tensor still costs arena."""

from __future__ import annotations

from tflite_export.graph import Graph


def remove_dead_code(graph: Graph) -> Graph:
    """`graph` with only the operators that an output or an assignment needs."""
    live = set(graph.outputs.values())
    kept = []
    for op in reversed(graph.ops):
        if op.kind == "ASSIGN_VARIABLE" or live.intersection(op.outputs):
            kept.append(op)
            live.update(t for t in op.inputs if t is not None)
    return graph.replace(ops=tuple(reversed(kept)))
