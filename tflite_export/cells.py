"""Finds the cells of networks such as NASNet, in which each cell reads the outputs of the two cells before it.

No tensor of such a network is a cut tensor, but two together are: without the outputs of two neighbouring cells,
nothing of the network's input reaches its output. The cells are the longest chain of Concats (or lite residual branches
that stand behind them), from the input to the output, of which every two neighbours are such a pair, the second made
from the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable, Sequence
from typing import Protocol

FEWEST = 4
"""Cells of a chain. The first pair and the last hold the input and the output, and prove nothing; two others must."""


class _Node(Protocol):
    kind: str
    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]


def find_cells(
    nodes: Sequence[_Node], entry: Hashable, output: Hashable
) -> list[tuple[Hashable, Hashable, tuple[_Node, ...]]]:
    """Finds the cells between two tensors.

    Args:
        nodes: operations, each behind those whose outputs it reads, of which only `entry` is read from without.
        entry: the tensor that the first cell reads.
        output: the only tensor that leaves, which the last cell makes.

    Returns:
        Of each cell, in order: the output of the cell before, its own, and the operations that lead from the one to
        the other. Empty where there is no chain of at least `FEWEST`.
    """
    with_branch = {tensor for node in nodes if node.kind == "branch" for tensor in node.inputs[1:]}
    ends = [node.outputs[0] for node in nodes if node.kind in ("concat", "branch")]
    ends = [tensor for tensor in ends if tensor not in with_branch]
    if output not in ends:
        return []
    reached = {tensor: _reached(nodes, {tensor}) for tensor in (entry, *ends)}
    chains: dict[Hashable, tuple[Hashable, ...]] = {entry: (entry,)}
    for tensor in ends:
        before = [
            chain
            for last, chain in chains.items()
            if tensor in reached[last] and output not in _reached(nodes, {entry} - {last}, without={last, tensor})
        ]
        if before:
            chains[tensor] = (*max(before, key=len), tensor)
    chain = chains.get(output, ())
    if len(chain) <= FEWEST:
        return []
    return [
        (start, end, _between(nodes, reached[start], set(chain) - {end}, end))
        for start, end in itertools.pairwise(chain)
    ]


def _reached(nodes: Sequence[_Node], start: Iterable[Hashable], without: Iterable[Hashable] = ()) -> set[Hashable]:
    """All tensors that are made from those of `start` by a way on which none is that is of `without`."""
    found, left_out = set(start), set(without)
    for node in nodes:
        if found.intersection(node.inputs):
            found.update(tensor for tensor in node.outputs if tensor not in left_out)
    return found


def _between(nodes: Sequence[_Node], reached: set[Hashable], ends: set[Hashable], end: Hashable) -> tuple[_Node, ...]:
    """The operations that `end` needs, no further back than `ends`, and that are in `reached`."""
    needed, kept = {end}, []
    for node in reversed(nodes):
        if needed.intersection(node.outputs) and reached.intersection(node.outputs):
            kept.append(node)
            needed.update(tensor for tensor in node.inputs if tensor not in ends)
    return tuple(kept[::-1])
