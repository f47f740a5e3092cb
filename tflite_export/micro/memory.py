"""Where every activation of the program lies in its arena.

The arena's planner is that of TFLite Micro (`arena.Space`). What it places are buffers: tensors that lie in one
because a kernel works in place, or because one is the other in another shape, share it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping

from tflite_export.arena import Space, align
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.micro.workspace import workspace_bytes

ALIGNMENT = 8  # bytes


@dataclasses.dataclass(frozen=True, eq=False)
class Buffer:
    """Bytes [offset, offset + size) from operator `first` to operator `last`, both included; `tensors` lie there."""

    tensors: tuple[Tensor, ...]
    size: int
    first: int
    last: int
    offset: int = 0
    label: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Memory:
    """The arena of one function.

    Attributes:
        total_bytes: its size.
        buffers: in order of their first use.
        offsets: of every tensor.
        workspaces: of every operator that has one: where it lies, and its size.
    """

    total_bytes: int
    buffers: tuple[Buffer, ...]
    offsets: Mapping[Tensor, int]
    workspaces: Mapping[Op, tuple[int, int]]


def plan_memory(graph: Graph, x_offset: int | None = None, enough: int = 0) -> Memory:
    """The arena of a graph of C operators in its order.

    ``x`` lies there too, and its place is free again behind its last reader; labels lie with the caller.

    Args:
        x_offset: where x must lie; None: anywhere.
        enough: bytes of an arena for which nothing better is looked for.
    """
    buffers, scratch = _everything(graph)
    floor, best = max(_peak(buffers), enough), None
    for key in _ORDERS:
        order = sorted(range(len(buffers)), key=lambda i: key(buffers[i]))
        for _ in range(_ATTEMPTS):
            placed = _placed(buffers, order, x_offset)
            best = placed if best is None or placed[0] < best[0] else best
            if best[0] <= floor:
                break
            highest = max(order, key=lambda i: placed[1][i] + buffers[i].size)
            order = [highest, *(i for i in order if i != highest)]  # what stands out on top goes first
        if best[0] <= floor:
            break
    total, offsets = best
    placed = [dataclasses.replace(buffer, offset=offset) for buffer, offset in zip(buffers, offsets, strict=True)]
    by_op = {op: (buffer.offset, buffer.size) for op, buffer in zip(scratch, placed[len(placed) - len(scratch) :])}
    at = {tensor: buffer.offset for buffer in placed for tensor in buffer.tensors}
    placed.sort(key=lambda buffer: (buffer.first, buffer.offset))
    return Memory(total, tuple(placed), at, by_op)


def fullest(graph: Graph) -> tuple[tuple[int, int], list[tuple[Tensor, ...]]]:
    """The most bytes that are live at once and how many operators see as many, and the tensors of every buffer that the
    first of them sees, from the largest on."""
    buffers, _ = _everything(graph)
    change = [0] * (len(graph.ops) + 2)
    for buffer in buffers:
        change[buffer.first] += buffer.size
        change[buffer.last + 1] -= buffer.size
    sums = list(itertools.accumulate(change[: len(graph.ops)]))
    peak = max(sums)
    full = [t for t, live in enumerate(sums) if live == peak]
    live = sorted((b for b in buffers if b.first <= full[0] <= b.last), key=lambda b: -b.size)
    return (peak, len(full)), [b.tensors for b in live if b.tensors]


def _everything(graph: Graph) -> tuple[list[Buffer], list[Op]]:
    """The buffers of all tensors, then those of the workspaces of the operators that have one."""
    buffers, scratch = _buffers(graph), []
    for i, op in enumerate(graph.ops):
        if size := workspace_bytes(op):
            scratch.append(op)
            buffers.append(Buffer((), align(size, ALIGNMENT), i, i, label=f"workspace of {op.kind}"))
    return buffers, scratch


def _peak(buffers: list[Buffer]) -> int:
    change: dict[int, int] = {}
    for buffer in buffers:
        change[buffer.first] = change.get(buffer.first, 0) + buffer.size
        change[buffer.last + 1] = change.get(buffer.last + 1, 0) - buffer.size
    live = highest = 0
    for time in sorted(change):
        live += change[time]
        highest = max(highest, live)
    return highest


_ATTEMPTS = 12
_ORDERS = (
    lambda b: (-b.size, b.first),
    lambda b: (b.first - b.last, -b.size),
    lambda b: (-b.size * (b.last - b.first + 1), b.first),
    lambda b: (b.first, -b.size),
)


def _placed(buffers: list[Buffer], order: list[int], x_offset: int | None) -> tuple[int, list[int]]:
    space, offsets = Space(ALIGNMENT), {}
    if x_offset is not None:
        offsets[0] = space.insert(x_offset, buffers[0].size, buffers[0].first, buffers[0].last)
    for i in order:
        if i not in offsets:
            offsets[i] = space.place_first(buffers[i].size, buffers[i].first, buffers[i].last)
    return space.total, [offsets[i] for i in range(len(buffers))]


def _buffers(graph: Graph) -> list[Buffer]:
    """x, and every tensor that operators write, in the buffers that they share.

    Raises:
        RuntimeError: a kernel that works in place alone would overwrite what is still read.
    """
    reads: dict[Tensor, int] = {t: i for i, op in enumerate(graph.ops) for t in op.inputs if t is not None}
    reads.update(dict.fromkeys(graph.outputs.values(), len(graph.ops)))
    owner: dict[Tensor, Tensor] = {}
    members: dict[Tensor, list[Tensor]] = {}
    born: dict[Tensor, int] = {}
    for i, op in enumerate(graph.ops):
        if op.kind == "READ_VARIABLE":
            continue
        for position, y in enumerate(op.outputs):
            target = y
            if position == 0 or op.kind == "rows":
                target = _shares(op, y, i, owner, members, reads) or y
            owner[y] = owner.get(target, target)
            members.setdefault(owner[y], []).append(y)
            born.setdefault(owner[y], i)
    x = graph.inputs["x"]
    given = Buffer((x,), align(x.nbytes, ALIGNMENT), 0, reads.get(x, 0), label="x")
    return [given] + [
        Buffer(
            tuple(tensors),
            align(max(t.nbytes for t in tensors), ALIGNMENT),
            born[root],
            max(max(reads.get(t, born[root]) for t in tensors), born[root]),
        )
        for root, tensors in members.items()
    ]


def _shares(op: Op, y: Tensor, i: int, owner, members, reads) -> Tensor | None:
    """The input whose buffer an output of operator i lies in."""
    for x in views(op):
        return x if x in owner else None
    must = must_overwrite(op)
    for x in (must,) if must is not None else may_overwrite(op, y):
        if x not in owner or x.nbytes < y.nbytes:
            continue
        if all(reads.get(t, 0) <= i for t in members[owner[x]]):
            return x
    if must is not None:
        raise RuntimeError(f"{op} works in place, and {must.name!r} is still read behind it. Please report the model")
    return None


def views(op: Op) -> tuple[Tensor, ...]:
    """The input whose bytes are the output."""
    return op.inputs[:1] if op.kind == "reshape" else ()


def must_overwrite(op: Op) -> Tensor | None:
    """The input that the kernel changes: it becomes the first output."""
    if op.kind == "rows":
        return None
    if op.kind == "bias_update" and op.outputs:
        return op.inputs[0]
    if op.attributes.get("accumulates"):
        return op.inputs[-2 if op.attributes.get("mask_below") else -1]
    return None


def may_overwrite(op: Op, y: Tensor) -> tuple[Tensor, ...]:
    """The inputs that the kernel may overwrite by its output `y`, the first one or one of a region of rows."""
    if op.kind == "rows":
        return op.attributes["plan"].overlays.get(y, ())
    if op.kind == "bilinear_add":
        return op.inputs[1:]
    if op.kind in ("add", "subtract", "multiply"):
        return tuple(t for t in op.inputs if not t.is_constant)
    if op.kind in ("scale", "rectify", "masked", "group_norm") or op.kind.endswith(("cross_entropy", "squared_error")):
        return op.inputs[:1]
    if op.kind == "group_norm_gradient" and op.attributes["roles"][0] == "x":
        return (op.inputs[2], op.inputs[0])
    return ()
