"""Lets elementwise operators broadcast by themselves instead of storing a stretched copy."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph

_BROADCASTING = {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "APPLY_MASK"}


def elide_broadcasts(graph: Graph) -> Graph:
    """Feeds the unstretched value to every reader that has another operand of the full shape."""
    source = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.kind == "BROADCAST"}
    ops = []
    for op in graph.ops:
        if op.kind in _BROADCASTING and len(op.inputs) == 2:
            a, b = op.inputs
            if a in source and b.shape == op.outputs[0].shape:
                op = dataclasses.replace(op, inputs=(source[a], b))
            elif b in source and op.kind != "APPLY_MASK" and a.shape == op.outputs[0].shape:
                op = dataclasses.replace(op, inputs=(a, source[b]))
        ops.append(op)
    return graph.replace(ops=tuple(ops))
