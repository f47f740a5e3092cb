"""Where an activation's mask is computed: at once, so that the map it is told from can die before the backward pass."""

from __future__ import annotations

from tflite_export.graph import MASKS, Graph, consumers


def compute_masks_early(graph: Graph) -> Graph:
    """Moves every mask right behind the operator that writes the last of its inputs."""
    readers = consumers(op for op in graph.ops if op.kind in MASKS)
    written = {t for op in graph.ops for t in op.outputs}
    missing = {mask: sum(t in written for t in set(mask.inputs)) for masks in readers.values() for mask in masks}
    moved = {mask for mask, count in missing.items() if count}
    ops = []
    for op in graph.ops:
        if op in moved:
            continue
        ops.append(op)
        for mask in (mask for tensor in op.outputs for mask in readers.get(tensor, ())):
            missing[mask] -= 1
            if not missing[mask]:
                ops.append(mask)
    return graph.replace(ops=tuple(ops))
