"""Branches that add nothing: a lite residual branch whose last scale is frozen at zero is no part of the program."""

from __future__ import annotations

from tflite_export.graph import Graph, Tensor, substitute
from tflite_export.passes.dead_code import remove_dead_code


def leave_out_zeros(graph: Graph) -> Graph:
    """`graph` of C operators without sums with what is always zero."""
    zero: set[Tensor] = set()
    same: dict[Tensor, Tensor] = {}
    for op in graph.ops:
        (y,) = op.outputs
        if op.kind == "group_norm":
            is_zero = all(t.is_constant and not t.data.any() for t in op.inputs[1:])
        elif op.kind in ("bilinear", "reshape", "rectify", "average_pool", "max_pool", "mean"):
            is_zero = op.inputs[0] in zero
        else:
            is_zero = False
        if is_zero:
            zero.add(y)
        if op.kind == "add" and zero.intersection(op.inputs):
            a, b = op.inputs
            same[y] = b if a in zero else a
            if a in zero and b in zero:
                zero.add(y)
    outputs = {name: _end(tensor, same) for name, tensor in graph.outputs.items()}
    return remove_dead_code(graph.replace(ops=substitute(graph.ops, same), outputs=outputs))


def _end(tensor: Tensor, same: dict[Tensor, Tensor]) -> Tensor:
    while tensor in same:
        tensor = same[tensor]
    return tensor
