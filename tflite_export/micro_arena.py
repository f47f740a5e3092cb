"""Offsets that a file dictates to TFLite Micro's planner (its metadata "OfflineMemoryAllocation").

TFLM's own plan of an IF keeps every input twice: the entry's tensor lives until the branch has ended, and the branch
works on a copy. TFLM copies nothing where both lie at one address (CopyOpInputsToSubgraphInputs in kernel_util.cc). So
here the inputs of both branches lie where the entry's do, and their bytes are free after their last use: a run
overwrites its inputs. The entry's outputs stay until the next run.

With all offsets given, the planner on the device has hardly anything left to sort, which takes it a time quadratic in
the number of tensors.
"""

from __future__ import annotations

from tflite_export.arena import MICRO_ALIGNMENT, Space, activations, align, last_reads, plan
from tflite_export.graph import Graph, Tensor


def dictated_offsets(entry: Graph) -> dict[Tensor, int]:
    """Where in the arena every activation of `entry`, which ends with its IF, and of the two branches begins.

    Nothing is dictated where TFLM's own plan is smaller.
    """
    candidates = [*(_offsets(entry, place) for place in (Space.place_first, Space.place_tightest)), {}]
    return min(candidates, key=lambda offsets: plan(entry, "micro", offsets).total_bytes)


def _offsets(entry: Graph, place) -> dict[Tensor, int]:
    *before, choice = entry.ops
    passed = choice.inputs[1:]
    offsets: dict[Tensor, int] = {}
    total = 0
    kept = [*choice.outputs, *(op.outputs[0] for op in before), *(t for t in entry.inputs.values() if t not in passed)]
    for tensor in kept:  # a few bytes, for which nothing else is given way
        offsets[tensor] = total
        total += _size(tensor)
    for branch in sorted(entry.branches, key=lambda branch: len(branch.ops), reverse=True):  # training lies freely
        lives = _lives(branch)
        space = Space(MICRO_ALIGNMENT)
        space.insert(0, total, -1, len(branch.ops))
        for tensor, source in zip(branch.inputs.values(), passed, strict=True):
            if source in offsets:
                offsets[tensor] = offsets[source]
                space.insert(offsets[tensor], _size(tensor), *lives.pop(tensor))
        for tensor in sorted(lives, key=_size, reverse=True):
            offsets[tensor] = place(space, _size(tensor), *lives[tensor])
        offsets.update({source: offsets[t] for t, source in zip(branch.inputs.values(), passed, strict=True)})
    return offsets


def _lives(branch: Graph) -> dict[Tensor, tuple[int, int]]:
    """First and last use of every activation, in operators of the branch; inputs are there before them all."""
    last = last_reads(branch)
    return {t: (first, max(first, last.get(t, first))) for t, first in activations(branch).items() if t.nbytes}


def _size(tensor: Tensor) -> int:
    return align(tensor.nbytes, MICRO_ALIGNMENT)
