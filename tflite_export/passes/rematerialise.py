"""Computes parts of the forward pass once more where the backward pass needs them, instead of keeping them.

The forward pass is divided at its cut tensors into `segments`. Of a segment that is computed twice only the tensor that
enters it is kept; the backward pass reads a second copy, made from that tensor and from the variables just before.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence

from tflite_export.graph import MASKS, Graph, Op, Tensor, consumers, producers

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
_CHEAP = frozenset(
    "ADD SUB MUL DIV MAXIMUM MINIMUM RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU ELU SELU LOGISTIC TANH SOFTPLUS "
    "SWISH SWISH_ONE_BIT HARD_SWISH HARD_SWISH_ONE_BIT GELU SQRT RSQRT SQUARE EXP LOG NEG ABS RESHAPE".split()
)
_SMALL = 8  # what is kept for a tensor that is computed again may have this part of its elements


@dataclasses.dataclass(frozen=True, eq=False)
class Segment:
    """Operators of the forward pass between two cut tensors.

    `kept_bytes` is what the backward pass reads of it, masks as one byte per element; `multiplications` is what it
    costs to compute that again.
    """

    ops: tuple[Op, ...]
    kept_bytes: int
    multiplications: int


def weight_segment(step: Graph, forward: Sequence[Op]) -> Segment:
    """What the forward pass computes of variables alone, as standardized kernels; not the pieces of packed vectors,
    which are small and would take the whole vector again."""
    outside = set(step.inputs.values())
    for op in forward:
        if any(tensor in outside for tensor in op.inputs):
            outside.update(op.outputs)
    inside = [op for op in forward if op.outputs[0] not in outside and op.kind != "SPLIT_V"]
    return _measured(step, forward, inside)


def elementwise_segment(step: Graph, forward: Sequence[Op]) -> Segment:
    """What follows by cheap arithmetic from tensors that are kept anyway, as a normalized map from a centred one."""
    inside, table = set(forward), producers(forward)
    kept = {t for op in step.ops if op not in inside and op.kind not in MASKS for t in op.inputs if t in table}
    again: set[Op] = set()
    for op in forward:
        if op.outputs[0] in kept:
            again.update(_cheap_chain(op, kept, table))
    return _measured(step, forward, [op for op in forward if op in again])


def _cheap_chain(last: Op, kept: set[Tensor], table) -> set[Op]:
    """The cheap operators that lead from `kept` and small tensors to `last`; empty if a large one is not kept."""
    chain, stack = set(), [last]
    while stack:
        op = stack.pop()
        if op.kind not in _CHEAP:
            return set()
        chain.add(op)
        for tensor in op.inputs:
            small = tensor is None or tensor.is_constant or _SMALL * tensor.size <= last.outputs[0].size
            if not (small or tensor in kept):
                if tensor not in table:
                    return set()
                stack.append(table[tensor])
    return chain


def segments(step: Graph, forward: Sequence[Op]) -> list[Segment]:
    """The forward operators of `step` in order, divided where one tensor alone connects two parts.

    A cut tensor begins a segment if what follows it is wider or is a residual block.
    """
    found, current = [], []
    regions = _regions(step, forward)
    for region, (entry, ops) in enumerate(regions):
        if region and _opens_segment(entry, ops):
            found.append(current)
            current = []
        current = current + ops
    return [_measured(step, forward, ops) for ops in (*found, current) if ops]


def rematerialise(step: Graph, forward: Sequence[Op], chosen: Iterable[Segment]) -> Graph:
    """`step` with the backward pass reading second copies of what the `chosen` segments compute."""
    inside, table = set(forward), producers(step.ops)
    home = {op: segment for segment in chosen for op in segment.ops}
    copies: dict[Tensor, Tensor] = {}
    ops: list[Op] = []

    def copy_of(tensor: Tensor | None) -> Tensor | None:
        """`tensor`, computed again with everything of its segment that it needs, if that segment is a chosen one."""
        segment = home.get(table.get(tensor))
        if segment is not None and tensor not in copies:
            for op in _needed(segment.ops, [tensor]):
                if op.outputs[0] not in copies:
                    inputs = tuple(copies.get(t, t) for t in op.inputs)
                    outputs = tuple(dataclasses.replace(t, name=t.name + "/again") for t in op.outputs)
                    copies.update(zip(op.outputs, outputs))
                    ops.append(dataclasses.replace(op, inputs=inputs, outputs=outputs))
        return copies.get(tensor, tensor)

    for op in step.ops:
        if op not in inside:
            inputs = tuple(map(copy_of, op.inputs))
            op = dataclasses.replace(op, inputs=inputs) if inputs != op.inputs else op
        ops.append(op)
    return step.replace(ops=tuple(ops))


def _needed(ops: Sequence[Op], tensors: Iterable[Tensor]) -> list[Op]:
    """Those of `ops` that `tensors` depend on, in order."""
    wanted, found = set(tensors), []
    for op in reversed(ops):
        if wanted.intersection(op.outputs):
            found.append(op)
            wanted.update(op.inputs)
    return found[::-1]


def _regions(step: Graph, forward: Sequence[Op]) -> list[tuple[Tensor | None, list[Op]]]:
    """The operators that depend on the graph's inputs between one cut tensor, which stands first, and the next."""
    members = set(forward)
    readers = {t: [op for op in found if op in members] for t, found in consumers(step.ops).items()}
    left = {t: len(found) for t, found in readers.items()}
    live = {t for t in step.inputs.values() if left.get(t)}
    entry, ops, found = None, [], []
    for op in forward:
        if not any(t in live for t in op.inputs):
            continue  # of variables alone
        ops.append(op)
        for tensor in dict.fromkeys(op.inputs):
            if tensor in live:
                left[tensor] -= 1
                live -= {tensor} if not left[tensor] else set()
        live.update(t for t in op.outputs if left.get(t))
        if len(live) == 1:
            found.append((entry, ops))
            (entry,), ops = live, []
    return [*found, (entry, ops)] if ops else found


def _opens_segment(entry: Tensor, ops: Sequence[Op]) -> bool:
    wider = any(tensor.size > entry.size for op in ops for tensor in op.outputs)
    return wider or (len(ops) > 1 and any(op.kind in _CONVOLUTIONS for op in ops))


def _measured(step: Graph, forward: Sequence[Op], ops: Sequence[Op]) -> Segment:
    forward, table = set(forward), producers(ops)
    wanted: dict[Tensor, int] = {}
    for op in step.ops:
        if op not in forward:
            for tensor in op.inputs:
                if tensor in table:
                    nbytes = tensor.size if op.kind in MASKS else tensor.nbytes
                    wanted[tensor] = max(wanted.get(tensor, 0), nbytes)
    return Segment(tuple(ops), sum(wanted.values()), sum(map(_multiplications, _needed(ops, wanted))))


def _multiplications(op: Op) -> int:
    """At least one per element that is written."""
    size = sum(tensor.size for tensor in op.outputs)
    if op.kind in _CONVOLUTIONS:
        kernel = op.inputs[1].shape
        return size * (math.prod(kernel[1:3]) if op.kind == "DEPTHWISE_CONV_2D" else math.prod(kernel[1:]))
    return size * op.inputs[0].shape[0 if op.attributes["adj_x"] else 1] if op.kind == "MATMUL" else size
