"""Layers row by row: what is large in a network never exists whole.

A region is a run of operators of which each keeps as many rows as the windows behind it still need. A row is made when
the next layer asks for it, once: nothing is computed twice, so a region costs no multiplication more. When a layer's
rows reach the end of its buffer, those that are still needed move to the front. What leaves the region is whole.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tflite_export.arena import align
from tflite_export.graph import Op, Tensor
from tflite_export.micro.forms import image
from tflite_export.micro.rowwise import is_in_place, maps, pad_top, window


@dataclasses.dataclass(frozen=True)
class Node:
    """An operator, and what is done to its rows in place at once."""

    op: Op
    after: tuple[Op, ...] = ()

    @property
    def ops(self) -> tuple[Op, ...]:
        return (self.op, *self.after)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of its rows."""
        return image(self.op.outputs[0] if self.op.outputs else self.op.inputs[0])

    @property
    def dtype(self) -> str:
        """Of its rows."""
        return self.op.outputs[0].dtype if self.op.outputs else "float32"

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that its rows are called, one after the other."""
        return tuple(op.outputs[0] for op in self.ops if op.outputs)


@dataclasses.dataclass(frozen=True)
class Row:
    """Node `node` makes row `row`, at row `out` of its buffer.

    Of its first map it reads `rows` rows, above which `pad_top` rows of padding lie; ``inputs[i]`` is where in the
    buffer of map i the first row stands.
    """

    node: int
    row: int
    out: int
    inputs: tuple[int, ...]
    rows: int
    pad_top: int


@dataclasses.dataclass(frozen=True)
class Move:
    """`count` rows of a node's buffer move from row `start` on to its front."""

    node: int
    start: int
    count: int


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlan:
    """What a region does, row by row.

    Attributes:
        ops: its operators, in their order.
        nodes: the same, with what is done in place.
        whole: of each node, whether its output leaves the region, and is whole.
        heights: rows of each node's buffer.
        events: in order.
        overlays: by tensor that leaves, inputs of the region in whose place its rows may be written.
    """

    ops: tuple[Op, ...]
    nodes: tuple[Node, ...]
    whole: tuple[bool, ...]
    heights: tuple[int, ...]
    events: tuple[Row | Move, ...]
    overlays: Mapping[Tensor, tuple[Tensor, ...]]

    def row_bytes(self, node: int) -> int:
        _, width, channels = self.nodes[node].shape
        return np.dtype(self.nodes[node].dtype).itemsize * width * channels if self.nodes[node].tensors else 0

    @property
    def offsets(self) -> dict[int, int]:
        """Where in the region's workspace the buffer of each node begins that is not whole."""
        found, at = {}, 0
        for i, whole in enumerate(self.whole):
            if not whole:
                found[i] = at
                at += align(self.heights[i] * self.row_bytes(i), 8)
        return found

    @property
    def sums(self) -> dict[Op, int]:
        """Where in the region's workspace the gradient of each bias is summed up, behind the buffers."""
        at, found = self._buffer_bytes, {}
        for op in self.ops:
            if op.kind == "bias_update":
                found[op] = at
                at += align(4 * image(op.inputs[0])[2], 8)
        return found

    @property
    def _buffer_bytes(self) -> int:
        sizes = (self.heights[i] * self.row_bytes(i) for i, whole in enumerate(self.whole) if not whole)
        return sum(align(size, 8) for size in sizes)

    @property
    def workspace_bytes(self) -> int:
        """Of buffers and sums."""
        sums = sum(align(4 * image(op.inputs[0])[2], 8) for op in self.ops if op.kind == "bias_update")
        return self._buffer_bytes + sums


def row_plan(ops: Sequence[Op], leaving: Iterable[Tensor]) -> RowPlan:
    """Makes the rows of the last node one by one, and before each what it needs; what leaves aside, at once.

    Args:
        ops: rowwise operators, in order.
        leaving: the tensors that others read.
    """
    leaving = set(leaving)
    nodes = _nodes(ops, leaving)
    return _Simulation(tuple(ops), nodes, tuple(bool(leaving.intersection(node.tensors)) for node in nodes)).plan()


def _nodes(ops: Sequence[Op], leaving: set[Tensor]) -> tuple[Node, ...]:
    readers: dict[Tensor, int] = {}
    for op in ops:
        for tensor in maps(op):
            readers[tensor] = readers.get(tensor, 0) + 1
    nodes: list[Node] = []
    at: dict[Tensor, int] = {}
    for op in ops:
        x = op.inputs[0]
        alone = readers[x] == 1 and x not in leaving
        if is_in_place(op) and x in at and (alone or not op.outputs):
            i = at[x]
            nodes[i] = dataclasses.replace(nodes[i], after=(*nodes[i].after, op))
        else:
            i = len(nodes)
            nodes.append(Node(op))
        at.update(dict.fromkeys(op.outputs[:1], i))
    return tuple(nodes)


class _Simulation:
    def __init__(self, ops, nodes: tuple[Node, ...], whole: tuple[bool, ...]):
        self.ops, self.nodes, self.whole = ops, nodes, whole
        self.number = {tensor: i for i, node in enumerate(nodes) for tensor in node.tensors}
        self.inputs = [[self.number.get(t) for t in maps(node.op)] for node in nodes]
        self.readers = [
            [(j, p) for j, inputs in enumerate(self.inputs) for p, source in enumerate(inputs) if source == i]
            for i in range(len(nodes))
        ]
        self.height = [node.shape[0] for node in nodes]
        self.main = self._leading_to(len(nodes) - 1)

    def plan(self) -> RowPlan:
        made_rows = self._order()
        heights = self._heights(made_rows)
        events = tuple(self._events(made_rows, heights))
        return RowPlan(self.ops, self.nodes, self.whole, heights, events, self._overlays(made_rows))

    def _leading_to(self, last: int) -> set[int]:
        found, stack = set(), [last]
        while stack:
            i = stack.pop()
            if i is not None and i not in found:
                found.add(i)
                stack += self.inputs[i]
        return found

    def _order(self) -> list[tuple[int, int]]:
        made = [0] * len(self.nodes)
        order: list[tuple[int, int]] = []

        def make(i: int) -> None:
            row = made[i]
            for position, source in enumerate(self.inputs[i]):
                while source is not None and made[source] < window(self.nodes[i].op, position, row)[1]:
                    make(source)
            order.append((i, row))
            made[i] += 1
            for j, _ in self.readers[i]:
                while j not in self.main and made[j] < self.height[j] and ready(j):
                    make(j)

        def ready(j: int) -> bool:
            return all(
                source is None or made[source] >= window(self.nodes[j].op, position, made[j])[1]
                for position, source in enumerate(self.inputs[j])
            )

        for i in (len(self.nodes) - 1, *range(len(self.nodes))):
            while made[i] < self.height[i]:
                make(i)
        return order

    def _first_needed(self, made: Sequence[int], i: int) -> int:
        """The first row of node i that a reader has still to see."""
        needed = [window(self.nodes[j].op, p, made[j])[0] for j, p in self.readers[i] if made[j] < self.height[j]]
        return min([*needed, made[i]])

    def _heights(self, order) -> tuple[int, ...]:
        made, heights = [0] * len(self.nodes), [1] * len(self.nodes)
        for i, row in order:
            if not self.whole[i]:
                heights[i] = max(heights[i], row + 1 - self._first_needed(made, i))
            made[i] += 1
        return tuple(self.height[i] if whole else heights[i] for i, whole in enumerate(self.whole))

    def _events(self, order, heights):
        made, base = [0] * len(self.nodes), [0] * len(self.nodes)
        for i, row in order:
            if row - base[i] >= heights[i]:
                first = self._first_needed(made, i)
                if row > first:
                    yield Move(i, first - base[i], row - first)
                base[i] = first
            op = self.nodes[i].op
            windows = [window(op, position, row) for position in range(len(self.inputs[i]))]
            starts = tuple(
                first - (0 if source is None else base[source]) for (first, _), source in zip(windows, self.inputs[i])
            )
            yield Row(i, row, row - base[i], starts, windows[0][1] - windows[0][0], pad_top(op, row))
            made[i] += 1

    def _overlays(self, order) -> dict[Tensor, tuple[Tensor, ...]]:
        """Of every node that is whole, the outside tensors that it reads row for row, and nobody else after that."""
        safe = {
            (i, tensor)
            for i, node in enumerate(self.nodes)
            for position, tensor in enumerate(maps(node.op))
            if self.whole[i] and node.tensors and tensor not in self.number
            if tensor.nbytes == node.tensors[-1].nbytes and window(node.op, position, 1) == (1, 2)
        }
        readers = {
            tensor: [(j, p) for j, node in enumerate(self.nodes) for p, t in enumerate(maps(node.op)) if t is tensor]
            for _, tensor in safe
        }
        made = [0] * len(self.nodes)
        for i, row in order:
            made[i] += 1
            for j, tensor in [pair for pair in safe if pair[0] == i]:
                late = any(
                    made[reader] < self.height[reader] and window(self.nodes[reader].op, p, made[reader])[0] <= row
                    for reader, p in readers[tensor]
                    if reader != i
                )
                if late:
                    safe.discard((j, tensor))
        found: dict[Tensor, tuple[Tensor, ...]] = {}
        for i, tensor in sorted(safe, key=lambda pair: (pair[0], maps(self.nodes[pair[0]].op).index(pair[1]))):
            found[self.nodes[i].tensors[-1]] = (*found.get(self.nodes[i].tensors[-1], ()), tensor)
        return found
