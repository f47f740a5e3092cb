"""Reads every variable where it is used: a copy held from the start of the step would cost arena until its last use."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph, Op


def read_where_used(graph: Graph) -> Graph:
    """Gives every reader of a variable's value a READ_VARIABLE of its own.

    Values that are outputs of the graph keep their one READ_VARIABLE.
    """
    reads = {op.outputs[0]: op for op in graph.ops if op.kind == "READ_VARIABLE"}
    outputs = set(graph.outputs.values())
    ops: list[Op] = []
    for op in graph.ops:
        if op.kind == "READ_VARIABLE" and op.outputs[0] not in outputs:
            continue
        fresh = {}
        for tensor in op.inputs:
            if tensor in reads and tensor not in outputs and tensor not in fresh:
                fresh[tensor] = dataclasses.replace(tensor)
                ops.append(dataclasses.replace(reads[tensor], outputs=(fresh[tensor],)))
        ops.append(dataclasses.replace(op, inputs=tuple(fresh.get(t, t) for t in op.inputs)) if fresh else op)
    return graph.replace(ops=tuple(ops))
