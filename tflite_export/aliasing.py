"""In-place safety: LiteRT lets some operators write into their input's buffer without asking who else still reads it.

Its test counts the readers of the input and of the buffer's owner, but not of the tensors in between
(ArenaPlanner::IdentifyInPlaceTensors, LiteRT 2.3). In ``EXP -> SUB -> RESHAPE -> MUL`` SUB, RESHAPE and MUL all work in
EXP's buffer; another reader of SUB's output that runs after MUL reads MUL's result instead.

`check_in_place` proves an order free of that. `order_edges` are the dependencies that keep an order free of it, and
`insert_copies` breaks the sharing where no order can: two operators that both overwrite the same value, or an
overwriting operator whose result the other reader needs.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping

import numpy as np

from tflite_export.arena import Sharing, activations, last_reads, plan, shared_buffers
from tflite_export.builder import integers
from tflite_export.graph import Graph, Op, Tensor, consumers
from tflite_export.state_order import state_edges


def check_in_place(graph: Graph, runtime: str = "litert") -> None:
    """Proves that every operator finds its operands intact in the arena that `runtime` plans for this order.

    It does not trust the lifetimes of the plan: it takes the planned byte ranges alone, and looks for any write that
    falls between a tensor's own write and its last read and touches its bytes.

    Raises:
        ValueError: names the operator that overwrites, and the one that reads too late.
    """
    arena = plan(graph, runtime)
    shared = shared_buffers(graph) if runtime == "litert" else {}
    tensors = list(arena.placements)
    placements = list(arena.placements.values())
    begin, size = (np.array([getattr(p, field) for p in placements], np.int64) for field in ("offset", "size"))
    writers, readers = activations(graph), last_reads(graph)
    written = np.array([writers[t] for t in tensors])
    read = np.array([readers.get(t, writers[t]) for t in tensors])
    value = _values(tensors, shared)
    for i, tensor in enumerate(tensors):
        touched = (begin < begin[i] + size[i]) & (begin[i] < begin + size)
        between = (written >= written[i]) & (written <= read[i]) & (value != value[i])
        for j in np.flatnonzero(touched & between):
            if written[j] < read[i] or not _in_place(shared, tensors[j], tensor):
                raise ValueError(_describe(graph, tensor, tensors[j], int(written[j]), int(read[i])))


def _values(tensors: list[Tensor], shared: Mapping[Tensor, Sharing]) -> np.ndarray:
    """A number per tensor; tensors that hold the same bytes in the same buffer (RESHAPE) have the same number."""
    value = {tensor: i for i, tensor in enumerate(tensors)}
    for tensor, sharing in shared.items():
        if not sharing.modifies and tensor in value and sharing.owner in value:
            value[tensor] = value[sharing.source]
    return np.array([value[tensor] for tensor in tensors])


def _in_place(shared: Mapping[Tensor, Sharing], output: Tensor, operand: Tensor) -> bool:
    """Whether the operator that writes `output` reads `operand`, element by element, before it overwrites it."""
    owner = shared[operand].owner if operand in shared else operand
    return output in shared and shared[output].owner is owner and output.nbytes == operand.nbytes


def _describe(graph: Graph, tensor: Tensor, by: Tensor, write: int, read: int) -> str:
    reader = f"operator {read}, {graph.ops[read]}," if read < len(graph.ops) else f"the caller of {graph.name!r}"
    return (
        f"LiteRT would overwrite {tensor.name!r}: operator {write}, {graph.ops[write]}, writes {by.name!r} into its "
        f"buffer before {reader} reads {tensor.name!r}. Run the overwriting operator after every other reader, as "
        "schedule() does, or give it a copy of its operand, as insert_copies() does."
    )


def order_edges(graph: Graph) -> list[tuple[Op, Op]]:
    """(earlier, later) pairs of operators: whatever reads a shared buffer comes before what overwrites it."""
    return [edge for _, edges in _hazards(graph) for edge in edges]


def insert_copies(graph: Graph) -> Graph:
    """Copies, by a full SLICE, the operand of each overwriting operator that no order of operators can make safe.

    The copy lies where the operator's output would lie if it did not work in place, so it costs nothing more.
    """
    while True:
        unsafe = _unorderable(graph)
        if not unsafe:
            return graph
        ops = []
        for op in graph.ops:
            if op in unsafe:
                source = unsafe[op].source
                copy = Tensor(source.name + "/copy", source.shape, source.dtype, None, source.quantization)
                rank = len(source.shape)
                sizes = (integers((0,) * rank), integers(source.shape))
                ops.append(Op("SLICE", (source, *sizes), (copy,), {}, op.origin))
                op = dataclasses.replace(op, inputs=tuple(copy if t is source else t for t in op.inputs))
            ops.append(op)
        graph = graph.replace(ops=tuple(ops))


def _hazards(graph: Graph) -> list[tuple[Sharing, list[tuple[Op, Op]]]]:
    """Every overwriting operator whose buffer has other readers, with the edges that it needs."""
    shared = shared_buffers(graph)
    guests = defaultdict(list)  # owner -> tensors in its buffer, parents first
    for tensor, sharing in shared.items():
        guests[sharing.owner].append(tensor)
    readers = consumers(graph.ops)
    hazards = []
    for tensor, sharing in shared.items():
        if not sharing.modifies:
            continue
        result = {tensor}  # what lies in the buffer from then on
        for guest in guests[sharing.owner]:
            if shared[guest].source in result:
                result.add(guest)
        path = set()
        source = sharing.source
        while source in shared:
            path.add(shared[source].op)
            source = shared[source].source
        before = [t for t in (sharing.owner, *guests[sharing.owner]) if t not in result]
        edges = [
            (reader, sharing.op)
            for t in before
            for reader in readers.get(t, ())
            if reader is not sharing.op and reader not in path
        ]
        if edges:
            hazards.append((sharing, edges))
    return hazards


def _unorderable(graph: Graph) -> dict[Op, Sharing]:
    """Overwriting operators whose edges would close a cycle with the data and with the edges taken before."""
    hazards = _hazards(graph)
    if not hazards:
        return {}
    successors = defaultdict(list)
    readers = consumers(graph.ops)
    for op in graph.ops:
        for tensor in op.outputs:
            successors[op] += readers.get(tensor, ())
    for before, after in state_edges(graph):
        successors[before].append(after)
    unsafe = {}
    for sharing, edges in hazards:
        reached, stack = set(), [sharing.op]
        while stack:
            op = stack.pop()
            if op not in reached:
                reached.add(op)
                stack += successors[op]
        if any(before in reached for before, _ in edges):
            unsafe[sharing.op] = sharing
        else:
            for before, after in edges:
                successors[before].append(after)
    return unsafe
