"""Where an activation's mask is computed: at once, so that the map it is told from can die before the backward pass."""

from __future__ import annotations

from tflite_export.graph import Graph, consumers, producers


def compute_masks_early(graph: Graph) -> Graph:
    """Moves every ACTIVATION_MASK right behind the operator that writes its input."""
    readers = consumers(op for op in graph.ops if op.kind == "ACTIVATION_MASK")
    moved = {mask for tensor in producers(graph.ops) for mask in readers.get(tensor, ())}
    ops = []
    for op in graph.ops:
        if op not in moved:
            ops += [op, *(mask for tensor in op.outputs for mask in readers.get(tensor, ()))]
    return graph.replace(ops=tuple(ops))
