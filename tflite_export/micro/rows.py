"""The first, frozen layers row by row: what is large early in a network never exists whole.

Each layer of the region keeps as many rows as the windows behind it still need. A row is made when the next layer asks
for it, once: there is no overlap that is computed twice, so the region costs no multiplication more. When a layer's
rows reach the end of its buffer, those that are still needed move to the front.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tflite_export.graph import Graph, Op, Tensor, consumers
from tflite_export.micro.forms import image

ROWWISE = ("pixels", "conv", "depthwise", "add", "scale", "rectify", "average_pool", "max_pool")


@dataclasses.dataclass(frozen=True)
class Row:
    """Operator `op` of the region makes one row of its output, at row `out` of its buffer.

    Of its inputs it reads `rows` rows, from row ``inputs[i]`` of the buffer of input i on; `pad_top` rows of padding
    lie before them.
    """

    op: int
    out: int
    inputs: tuple[int, ...]
    rows: int
    pad_top: int


@dataclasses.dataclass(frozen=True)
class Move:
    """`count` rows of the buffer of operator `op`'s output move from row `start` on to its front."""

    op: int
    start: int
    count: int


@dataclasses.dataclass(frozen=True, eq=False)
class RowPlan:
    """What a region does, row by row.

    Attributes:
        ops: its operators; the last one writes the region's output, whole.
        events: in order.
        heights: rows of the buffer of each operator's output.
    """

    ops: tuple[Op, ...]
    events: tuple[Row | Move, ...]
    heights: tuple[int, ...]

    @property
    def row_bytes(self) -> tuple[int, ...]:
        return tuple(op.outputs[0].nbytes // image(op.outputs[0])[0] for op in self.ops)

    @property
    def buffer_bytes(self) -> int:
        """All buffers but that of the output."""
        sizes = [height * size for height, size in zip(self.heights, self.row_bytes, strict=True)]
        return sum(-(-size // 8) * 8 for size in sizes[:-1])


def candidates(step: Graph, forward: Sequence[Op]) -> list[int]:
    """How many of the first forward operators can go row by row, for every place where one tensor alone goes on.

    Nothing of them may be saved for the backward pass, and no variable may be read that a step updates later: what is
    frozen is.
    """
    readers = consumers(step.ops)
    variables = {tensor for op in step.ops if op.kind == "READ_VARIABLE" for tensor in op.outputs}
    inside: set[Tensor] = set()
    found = []
    ops = [op for op in forward if op.kind != "READ_VARIABLE"]
    for count, op in enumerate(ops, 1):
        if op.kind not in ROWWISE or len(op.outputs) > 1 or variables.intersection(op.inputs):
            break
        inside.add(op.outputs[0])
        group = set(ops[:count])
        leaving = [t for t in inside if any(reader not in group for reader in readers.get(t, ()))]
        if count > 1 and leaving == [op.outputs[0]]:
            found.append(count)
    return found


def row_plan(ops: Sequence[Op]) -> RowPlan:
    """Makes the rows of the last operator's output one by one, and before each what it needs."""
    ops = tuple(ops)
    number = {op.outputs[0]: i for i, op in enumerate(ops)}
    readers = [[j for j, reader in enumerate(ops) if op.outputs[0] in reader.inputs] for op in ops]
    made = [0] * len(ops)
    events: list[tuple[int, int]] = []

    def make(i: int) -> None:
        row = made[i]
        for tensor in _maps(ops[i]):
            if tensor in number:
                while made[number[tensor]] < _window(ops[i], row)[1]:
                    make(number[tensor])
        events.append((i, row))
        made[i] += 1

    for _ in range(image(ops[-1].outputs[0])[0]):
        make(len(ops) - 1)
    heights = _heights(ops, readers, events)
    return RowPlan(ops, tuple(_placed(ops, number, readers, events, heights)), heights)


def _maps(op: Op) -> tuple[Tensor, ...]:
    return op.inputs if op.kind == "add" else op.inputs[:1]


def _window(op: Op, row: int) -> tuple[int, int]:
    """The input rows [first, end) that row `row` of the output is made of."""
    height = image(op.inputs[0])[0]
    if "stride" not in op.attributes:
        return row, row + 1
    size = op.attributes["window"][0] if "window" in op.attributes else _kernel_height(op)
    first = row * op.attributes["stride"][0] - op.attributes["padding"][0][0]
    return max(0, first), min(height, first + size)


def _kernel_height(op: Op) -> int:
    shape = op.inputs[1].shape
    return shape[1] if len(shape) == 4 else 1


def _pad_top(op: Op, row: int) -> int:
    if "stride" not in op.attributes:
        return 0
    return max(0, op.attributes["padding"][0][0] - row * op.attributes["stride"][0])


def _first_needed(ops, readers, made, i: int) -> int:
    """The first row of operator i's output that a reader has still to see."""
    needed = [
        _window(ops[j], made[j])[0] for j in readers[i] if made[j] < image(ops[j].outputs[0])[0]
    ]  # fmt: skip
    return min([*needed, made[i]])


def _heights(ops, readers, events) -> tuple[int, ...]:
    made, heights = [0] * len(ops), [1] * len(ops)
    for i, row in events:
        heights[i] = max(heights[i], row + 1 - _first_needed(ops, readers, made, i))
        made[i] += 1
    heights[-1] = image(ops[-1].outputs[0])[0]
    return tuple(heights)


def _placed(ops, number, readers, events, heights):
    made, base = [0] * len(ops), [0] * len(ops)
    for i, row in events:
        if row - base[i] >= heights[i]:
            first = _first_needed(ops, readers, made, i)
            if row > first:
                yield Move(i, first - base[i], row - first)
            base[i] = first
        start, end = _window(ops[i], row)
        inputs = tuple(start - base[number[t]] if t in number else start for t in _maps(ops[i]))
        yield Row(i, row - base[i], inputs, end - start, _pad_top(ops[i], row))
        made[i] += 1


def with_rows(train: Graph, infer: Graph, count: int) -> tuple[Graph, Graph]:
    """Both graphs with their first `count` operators, reads of variables aside, as one operator "rows"."""
    if not count:
        return train, infer
    region = [op for op in train.ops if op.kind != "READ_VARIABLE"][:count]
    attributes = {"plan": row_plan(region)}
    rows = Op("rows", region[0].inputs[:1], region[-1].outputs, attributes, region[-1].origin)
    inside = set(region[:-1])
    return tuple(
        graph.replace(ops=tuple(rows if op is region[-1] else op for op in graph.ops if op not in inside))
        for graph in (train, infer)
    )
