"""What is live while each operator of a training step runs, and why.

An operator is *backward* if its result depends on the labels and on the network's input at once: the gradient that
enters at the logits is the first value that does, and everything that is computed from it does too. The rule asks for
no memory of how the graph was made, so it holds behind every pass. The backward pass begins with the first such
operator in execution order. Bytes that are live are

- *stored*: written before the backward pass begins, and read in it;
- *workspace*: a kernel's own temporaries (`workspace`);
- *working*: all other tensors.

A buffer that operators work on in place is stored as long as it holds a stored value.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tflite_export.arena import activations, last_reads, plan, shared_buffers
from tflite_export.graph import Graph, Tensor
from tflite_export.workspace import litert_workspace, micro_workspace

STORED, WORKING, WORKSPACE = "stored", "working", "workspace"


@dataclasses.dataclass(frozen=True, eq=False)
class Buffer:
    """Bytes of the arena that hold one tensor, or in place several, one after the other.

    Attributes:
        nbytes: its size.
        tensors: what it holds, in the order of writing.
        written: the operators that write them; -1 for the graph's inputs.
        first, last: the operators between which it is live, both included.
        stored: the operators between which it holds something stored, both included; None if it never does.
    """

    nbytes: int
    tensors: tuple[Tensor, ...]
    written: tuple[int, ...]
    first: int
    last: int
    stored: tuple[int, int] | None

    def role(self, time: int) -> str:
        """Why it is live while operator `time` runs."""
        return STORED if self.stored and self.stored[0] <= time <= self.stored[1] else WORKING

    def content(self, time: int) -> int:
        """Which of `tensors` it holds when operator `time` has run."""
        return max(0, sum(written <= time for written in self.written) - 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """A graph, and the buffers that are live around each of its operators.

    Attributes:
        graph: the graph, in execution order.
        backward: where the backward pass begins; the number of operators where there is none.
        buffers: all buffers of the arena, kernels' temporaries left out.
        workspace: per operator, the bytes of its temporaries.
        arena_bytes: what the runtime plans for all of it, gaps included; never less than the most that is live.
    """

    graph: Graph
    backward: int
    buffers: tuple[Buffer, ...]
    workspace: tuple[int, ...]
    arena_bytes: int

    def live(self, time: int) -> list[Buffer]:
        """The buffers that are live while operator `time` runs."""
        return [buffer for buffer in self.buffers if buffer.first <= time <= buffer.last]

    def live_bytes(self) -> dict[str, list[int]]:
        """Per operator, how many bytes are stored, working and workspace."""
        changes = {role: np.zeros(len(self.graph.ops) + 1, np.int64) for role in (STORED, WORKING)}

        def add(role, first, last, nbytes):
            if first <= last:
                changes[role][first] += nbytes
                changes[role][last + 1] -= nbytes

        for buffer in self.buffers:
            first, last = buffer.stored or (buffer.first, buffer.first - 1)
            add(STORED, first, last, buffer.nbytes)
            add(WORKING, buffer.first, first - 1, buffer.nbytes)
            add(WORKING, last + 1, buffer.last, buffer.nbytes)
        live = {role: np.cumsum(change)[:-1].tolist() for role, change in changes.items()}
        return {**live, WORKSPACE: list(self.workspace)}


def timeline(graph: Graph, runtime: str = "litert") -> Timeline:
    """The timeline of a signature with the inputs ``y`` (labels) and ``learning_rate``, or of a branch of an IF.

    Raises:
        ValueError: unknown runtime, or a graph whose operators are out of order.
    """
    arena = plan(graph, runtime)
    begin, end = first_backward(graph), len(graph.ops) - 1
    written, read = activations(graph), _last_reads_of_values(graph, runtime)
    held = defaultdict(list)
    for tensor, placement in arena.placements.items():
        held[placement.shares or tensor].append(tensor)
    buffers = []
    for owner, tensors in held.items():
        tensors.sort(key=written.__getitem__)
        place = arena.placements[owner]
        kept = [t for t in tensors if written[t] < begin <= min(read[t], end)]
        stored = (max(0, written[kept[0]]), min(max(read[t] for t in kept), end)) if kept else None
        times = tuple(written[t] for t in tensors)
        buffers.append(Buffer(place.size, tuple(tensors), times, max(0, place.first), min(place.last, end), stored))
    temporaries = litert_workspace if runtime == "litert" else micro_workspace
    workspace = tuple(sum(temporaries(op)) for op in graph.ops)
    return Timeline(graph, begin, tuple(buffers), workspace, arena.total_bytes)


def _last_reads_of_values(graph: Graph, runtime: str) -> dict[Tensor, int]:
    """Of each activation the last operator that reads it, or the same bytes after a RESHAPE in place; -1 for none."""
    reads = last_reads(graph)
    last = {tensor: reads.get(tensor, -1) for tensor in activations(graph)}
    shared = shared_buffers(graph) if runtime == "litert" else {}
    for tensor, sharing in reversed(shared.items()):  # guests of guests come first
        if not sharing.modifies:
            last[sharing.source] = max(last[sharing.source], last[tensor])
    return last


def first_backward(graph: Graph, labels: str = "y", others: Sequence[str] = ("learning_rate",)) -> int:
    """The first operator whose result depends on the labels and on an input that is none of `others`.

    Returns the number of operators if there is none.
    """
    of_labels = {tensor for name, tensor in graph.inputs.items() if name == labels}
    of_data = {tensor for name, tensor in graph.inputs.items() if name not in (labels, *others)}
    for time, op in enumerate(graph.ops):
        for reached in (of_labels, of_data):
            if reached.intersection(op.inputs):
                reached.update(op.outputs)
        if any(tensor in of_labels and tensor in of_data for tensor in op.outputs):
            return time
    return len(graph.ops)
