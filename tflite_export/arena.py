"""Lifetimes -> offsets: where each runtime puts every activation of a Graph.

`plan(graph, "litert")` repeats LiteRT's ArenaPlanner and SimpleMemoryArena (tflite/arena_planner.cc,
tflite/simple_memory_arena.cc): operators that may work in place share their input's buffer, the rest is placed in order
of size into the tightest gap. `plan(graph, "micro")` repeats TFLite Micro's AllocationInfoBuilder and
GreedyMemoryPlanner: no sharing, the first gap that fits, and the branches of an IF one after the other inside it, each
with a copy of the IF's inputs and outputs.

Kernels place temporaries (im2col) among the tensors: see `workspace`. Not in the plan are resource handles, variables
and what TFLM keeps per operator, which lie in arenas of their own, and whatever a delegate allocates.
Outputs whose inputs are all constant are planned as activations; LiteRT computes some of those while it prepares.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping

import numpy as np

from tflite_export.graph import Graph, Op, Tensor
from tflite_export.workspace import litert_workspace, micro_workspace

RUNTIMES = ("litert", "micro")
_LITERT_ALIGNMENT = 64  # kDefaultTensorAlignment
MICRO_ALIGNMENT = 16  # MicroArenaBufferAlignment()
_SMALLEST_SHARED = 4  # bytes: kScalarTensorBytes, a modified buffer must be larger

# `inplace_operator` of LiteRT's kernels: the inputs whose buffer the first output may take over.
_MODIFYING = {
    "ADD": (0, 1),
    "SUB": (0, 1),
    "MUL": (0, 1),
    "DIV": (0, 1),
    "SOFTMAX": (0,),
    "DYNAMIC_UPDATE_SLICE": (0,),
}
_UNMODIFYING = {"RESHAPE": (0,), "EXPAND_DIMS": (0,), "SQUEEZE": (0,), "BITCAST": (0,)}


@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Bytes [offset, offset + size) hold a tensor from operator `first` to operator `last`, both included.

    Operators are counted from 0; -1 stands for "before the first" (graph inputs), ``len(graph.ops)`` for "never freed"
    (in LiteRT graph inputs, graph outputs, and outputs that no operator reads). `shares` is the tensor whose buffer
    this one lies in; the lifetime of that owner covers all its guests.
    """

    offset: int
    size: int
    first: int
    last: int
    shares: Tensor | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ArenaPlan:
    """`total_bytes` is the arena's size, kernels' temporaries included; `placements` has every tensor in it."""

    runtime: str
    total_bytes: int
    placements: Mapping[Tensor, Placement]


@dataclasses.dataclass(frozen=True, eq=False)
class Sharing:
    """`op` writes its output into the buffer of `source`, one of its inputs; that buffer belongs to `owner`."""

    op: Op
    source: Tensor
    owner: Tensor
    modifies: bool


def plan(graph: Graph, runtime: str = "litert", offsets: Mapping[Tensor, int] | None = None) -> ArenaPlan:
    """The arena of `graph` in its present order.

    Args:
        offsets: where the file itself puts tensors ("micro" alone: `Program.offsets`).

    Raises:
        ValueError: unknown runtime, or an operator reads a tensor before it is written.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime must be one of {RUNTIMES}. Received: runtime={runtime!r}")
    _check_order(graph)
    return _plan_litert(graph) if runtime == "litert" else _plan_micro(graph, offsets or {})


def shared_buffers(graph: Graph) -> dict[Tensor, Sharing]:
    """LiteRT's in-place decisions, by output (ArenaPlanner::IdentifyInPlaceTensors).

    They do not depend on the order of the operators: a buffer is given on if the shared input *and* the buffer's owner
    have a single reader. That no other tensor in the same buffer is still needed is not looked at; see `aliasing`.
    """
    references = Counter(t for op in graph.ops for t in op.inputs if t is not None)
    references.update(graph.inputs.values())
    references.update(graph.outputs.values())
    # Of the dynamic tensors LiteRT knows only the first when it decides: there it stops to prepare operators.
    unshared = {*graph.inputs.values(), *list(dynamic_tensors(graph))[:1]}
    outputs = set(graph.outputs.values())
    shared: dict[Tensor, Sharing] = {}
    for op in graph.ops:
        modifies = op.kind in _MODIFYING
        for position in _MODIFYING.get(op.kind) or _UNMODIFYING.get(op.kind, ()):
            source = op.inputs[position] if position < len(op.inputs) else None
            if source is None or source.is_constant or source in unshared or op.outputs[0] in outputs:
                continue
            if modifies and (
                source.nbytes != op.outputs[0].nbytes or source.nbytes <= _SMALLEST_SHARED or references[source] > 1
            ):
                continue
            owner = shared[source].owner if source in shared else source
            if not (modifies and references[owner] > 1):
                shared[op.outputs[0]] = Sharing(op, source, owner, modifies)
            break
    return shared


def dynamic_tensors(graph: Graph) -> dict[Tensor, int]:
    """Outputs of READ_VARIABLE of rank 0, and where they are written.

    LiteRT takes them for unranked and allocates them outside the arena.
    """
    return {t: i for i, op in enumerate(graph.ops) for t in op.outputs if op.kind == "READ_VARIABLE" and not t.shape}


def activations(graph: Graph) -> dict[Tensor, int]:
    """Every tensor that is not constant, with the operator that writes it; -1 for graph inputs.

    They stand in the order in which `flatbuffer.write` numbers them, which breaks the planners' ties.
    """
    return {
        **dict.fromkeys(graph.inputs.values(), -1),
        **{tensor: i for i, op in enumerate(graph.ops) for tensor in op.outputs},
    }


def last_reads(graph: Graph) -> dict[Tensor, int]:
    """The last operator that reads each tensor; graph outputs are read after the last one."""
    last = {t: i for i, op in enumerate(graph.ops) for t in op.inputs if t is not None}
    return {**last, **{tensor: len(graph.ops) for tensor in graph.outputs.values()}}


def _check_order(graph: Graph) -> None:
    written = set(graph.inputs.values())
    for op in graph.ops:
        for tensor in op.inputs:
            if tensor is not None and not tensor.is_constant and tensor not in written:
                raise ValueError(f"{graph.name!r} is out of order: {op} reads {tensor.name!r} before it is written")
        written.update(op.outputs)


def _plan_litert(graph: Graph) -> ArenaPlan:
    """Plans segment by segment: LiteRT stops planning at a dynamic output and goes on from there during the run."""
    never = len(graph.ops)
    first, dynamic = activations(graph), dynamic_tensors(graph)
    # What shares a dynamic tensor finds out while planning, and then lies in a buffer of its own that is never freed.
    decided = shared_buffers(graph)
    stranded = {t for t, sharing in decided.items() if sharing.owner in dynamic}
    shared = {t: sharing for t, sharing in decided.items() if t not in stranded}
    owner_of = {t: sharing.owner for t, sharing in shared.items()}

    last: dict[Tensor, int] = {}
    for i, op in enumerate(graph.ops):
        for tensor in op.inputs:
            if tensor is not None:
                last[owner_of.get(tensor, tensor)] = i
    permanent = {*graph.inputs.values(), *graph.outputs.values(), *stranded}
    last.update(dict.fromkeys(permanent, never))

    boundaries = list(dynamic.values())
    segment = {tensor: int(np.searchsorted(boundaries, start)) for tensor, start in first.items()}
    # CALL_ONCE, which initialises the variables, is the file's first operator.
    from_the_start = (lambda start: start < 0) if graph.variables else (lambda start: start <= 0)

    # (segment, permanent or not, size, first, last, tensor). Between buffers of one operator and of equal size LiteRT's
    # std::sort decides, over a hash set that mostly gives the newest first: temporaries, then outputs from the last.
    buffers = []
    for i, op in enumerate(graph.ops):
        part = int(np.searchsorted(boundaries, i))
        buffers += [(part, False, size, i, i, None) for size in reversed(litert_workspace(op))]
    for tensor in (*graph.inputs.values(), *(t for op in graph.ops for t in reversed(op.outputs))):
        if tensor.nbytes and tensor not in owner_of and tensor not in dynamic:
            start, end = first[tensor], last.get(tensor, never)
            buffers.append((segment[tensor], end == never and from_the_start(start), tensor.nbytes, start, end, tensor))

    def order(buffer):
        part, permanent, size, start, *_ = buffer
        return (part, 0, 0, 0) if permanent else (part, 1, -size, start)

    space = Space(_LITERT_ALIGNMENT)
    placements = {}
    for _, _, size, start, end, tensor in sorted(buffers, key=order):
        offset = space.place_tightest(size, start, end)
        if tensor is not None:
            placements[tensor] = Placement(offset, size, start, end)
    reads = last_reads(graph)
    for tensor, sharing in shared.items():
        offset = placements[sharing.owner].offset
        start = first[tensor]
        placements[tensor] = Placement(offset, tensor.nbytes, start, reads.get(tensor, start), sharing.owner)
    return ArenaPlan("litert", space.total, placements)


def _plan_micro(graph: Graph, offsets: Mapping[Tensor, int]) -> ArenaPlan:
    lives: dict[Tensor, tuple[int, int]] = {}
    scratch: list[tuple[int, int]] = []  # time, size
    end = _live(graph, -1, lives, scratch) + 1
    lives.update({t: (lives[t][0], end) for t in graph.outputs.values() if t in lives})
    # What the file places comes first; the rest is sorted stably by size, collected from the last buffer to the first.
    buffers = [(align(size, MICRO_ALIGNMENT), time, time, None) for time, size in reversed(scratch)]
    order = [t for part in (graph, *graph.branches) for t in activations(part)]
    buffers += [(align(t.nbytes, MICRO_ALIGNMENT), *lives[t], t) for t in reversed(order) if t.nbytes]
    buffers.sort(key=lambda buffer: (buffer[-1] in offsets, buffer[0]), reverse=True)
    space = Space(MICRO_ALIGNMENT)
    placements = {}
    for size, start, end, tensor in buffers:
        if tensor in offsets:
            offset = space.insert(offsets[tensor], size, start, end)
        else:
            offset = space.place_first(size, start, end)
        if tensor is not None:
            placements[tensor] = Placement(offset, size, start, end)
    return ArenaPlan("micro", space.total, placements)


def _live(graph: Graph, start: int, lives: dict[Tensor, tuple[int, int]], scratch: list[tuple[int, int]]) -> int:
    """Adds the first and last use of every tensor of `graph`, which is entered at time `start`, and what its kernels
    ask for; returns the time of its last operator. An IF counts on through its branches."""
    outputs = set(graph.outputs.values())
    written, last = dict.fromkeys(graph.inputs.values(), start), dict.fromkeys(graph.inputs.values(), start)
    time = start
    for op in graph.ops:
        time += 1
        written.update(dict.fromkeys(op.outputs, time))
        scratch += [(time, size) for size in micro_workspace(op)]
        for branch in (op.attributes["then_graph"], op.attributes["else_graph"]) if op.kind == "IF" else ():
            time = _live(branch, time + 1, lives, scratch)
        last.update({t: time for t in (*op.inputs, *op.outputs) if t is not None})
    lives.update({t: (first, time if t in outputs else last[t]) for t, first in written.items()})
    return time


def align(size, alignment):
    return -(-size // alignment) * alignment


class Space:
    """Buffers placed so far, sorted by offset. Times are operator indices, both ends included."""

    def __init__(self, alignment: int):
        self.total = 0
        self._alignment = alignment
        self._table = np.zeros((4, 0), np.int64)  # offset, end, first, last

    def place_tightest(self, size: int, first: int, last: int) -> int:
        """SimpleMemoryArena::Allocate, whose measure of a gap mixes its aligned with its unaligned start."""
        offsets, starts, end = self._gaps(first, last)
        aligned = align(starts, self._alignment)
        best, tightest = align(end, self._alignment), None
        for i in np.flatnonzero(aligned + size <= offsets):
            if tightest is None or offsets[i] - aligned[i] < tightest:
                best, tightest = int(aligned[i]), offsets[i] - starts[i]
                if tightest == 0:
                    break
        return self.insert(best, size, first, last)

    def place_first(self, size: int, first: int, last: int) -> int:
        """GreedyMemoryPlanner::CalculateOffsetsIfNeeded; sizes are aligned already."""
        offsets, starts, end = self._gaps(first, last)
        fitting = np.flatnonzero(starts + size <= offsets)
        return self.insert(int(starts[fitting[0]]) if fitting.size else end, size, first, last)

    def _gaps(self, first, last):
        """Of the buffers alive in the interval: where each begins, where the gap before it begins; and the last end."""
        offset, end, begins, ends = self._table
        alive = (ends >= first) & (begins <= last)
        reach = np.maximum.accumulate(np.concatenate([[0], end[alive]]))
        return offset[alive], reach[:-1], int(reach[-1])

    def insert(self, offset, size, first, last):
        at = np.searchsorted(self._table[0], offset, side="right")
        self._table = np.insert(self._table, at, (offset, offset + size, first, last), axis=1)
        self.total = max(self.total, offset + size)
        return offset
