"""Chains of RESHAPE and TRANSPOSE as one or two operators.

Every pass brings what it reads into the shape that it likes. Behind one another those moves often undo each other, or
are one permutation of the first tensor.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import read_once

_LARGEST = 1 << 20  # elements; of larger tensors, moves stay as they are

Shape = tuple[int, ...]
Move = tuple[str, Shape]  # "RESHAPE" and the new shape, or "TRANSPOSE" and the permutation


def merge_moves(graph: Graph) -> Graph:
    """`graph` with every chain of moves in the fewest operators found for it.

    What another operator reads in the middle of a chain stays, so from there on only one operator is shorter.
    """
    b, once = Builder(), read_once(graph)
    chains: dict[Tensor, list[tuple[Tensor, tuple[Move, ...]]]] = {}  # of what a move writes: origins, and the ways
    replacement: dict[Tensor, Tensor] = {}
    for op in graph.ops:
        move = _move(op)
        ways = [(t, (*before, move)) for t, before in chains.get(op.inputs[0], [(op.inputs[0], ())])] if move else []
        if move:
            chains[op.outputs[0]] = ways if op.outputs[0] in once else [*ways, (op.outputs[0], ())]
        found = ((source, _fewest(source.shape, moves)) for source, moves in ways if len(moves) > 1)
        alone = len(ways) == 1
        source, shorter = next(((t, s) for t, s in found if s is not None and (alone or len(s) <= 1)), (None, None))
        if shorter is None:
            b.copy(dataclasses.replace(op, inputs=tuple(replacement.get(t, t) for t in op.inputs)))
            continue
        value = replacement.get(source, source)
        with b.at(op.origin):
            for kind, argument in shorter:
                value = b.reshape(value, argument) if kind == "RESHAPE" else b.transpose(value, argument)
        replacement[op.outputs[0]] = value
    results = {name: replacement.get(t, t) for name, t in graph.outputs.items()}
    return remove_dead_code(graph.replace(ops=tuple(b.ops), outputs=results))


def _move(op: Op) -> Move | None:
    if op.kind == "RESHAPE":
        return "RESHAPE", op.outputs[0].shape
    if op.kind == "TRANSPOSE":
        return "TRANSPOSE", tuple(map(int, op.inputs[1].data))
    return None


@functools.lru_cache(maxsize=4096)
def _fewest(shape: Shape, moves: tuple[Move, ...]) -> tuple[Move, ...] | None:
    """Fewer moves of a tensor of `shape` that come to the same as `moves`; None where none are found.

    They are compared by what they do to the elements' numbers.
    """
    if math.prod(shape) > _LARGEST:
        return None
    start = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    end = start
    for kind, argument in moves:
        end = end.reshape(argument) if kind == "RESHAPE" else end.transpose(argument)
    candidates = [(("RESHAPE", end.shape),)]
    candidates += [(("TRANSPOSE", p),) for p in _permutations(len(shape))]
    if len(moves) > 2 or moves[0][0] == "RESHAPE":  # of two moves, the permutation first: others look for that
        candidates += [(("TRANSPOSE", p), ("RESHAPE", end.shape)) for p in _permutations(len(shape))]
    if len(moves) > 2:
        for p in _permutations(end.ndim):
            before = tuple(end.shape[i] for i in np.argsort(p))
            candidates.append((("RESHAPE", before), ("TRANSPOSE", p)))
    if start.shape == end.shape and np.array_equal(start, end):
        return ()
    for candidate in candidates:
        found = start
        for kind, argument in candidate:
            found = found.reshape(argument) if kind == "RESHAPE" else found.transpose(argument)
        if found.shape == end.shape and np.array_equal(found, end):
            return candidate
    return None


def _permutations(rank: int) -> list[Shape]:
    return [p for p in itertools.permutations(range(rank)) if p != tuple(range(rank))] if rank <= 5 else []
