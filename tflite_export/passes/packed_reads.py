"""Reads vectors where they are packed: one READ_VARIABLE and one SPLIT_V for all of them.

What is done to a whole vector before anything else reads it is done to all of them at once: the constant that the
converter subtracts from a bias in front of a folded BatchNormalization, and the division among the channel parts of
`channel_split`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Tensor, Variable, consumers
from tflite_export.packed_variables import PackedVariable


def read_packed(graph: Graph, variables: Iterable[Variable]) -> Graph:
    """`graph`, a canonical forward graph that reads every variable once, with `variables` read as they are stored."""
    for variable in variables:
        if isinstance(variable, PackedVariable):
            graph = _read(graph, variable)
    return graph


def _read(graph: Graph, packed: PackedVariable) -> Graph:
    readers, outputs = consumers(graph.ops), set(graph.outputs.values())
    reads = {op.attributes["variable"]: op for op in graph.ops if op.kind == "READ_VARIABLE"}
    gone: set[Op] = set()
    replacement: dict[Tensor, Tensor] = {}
    subtracted, pieces = [], []  # pieces: length, name, and the tensors that it stands for
    for member in packed.members:
        number = member.initial.size
        if member not in reads:
            subtracted.append(np.zeros(number))
            pieces.append((number, member.name, []))
            continue
        gone.add(reads[member])
        value = reads[member].outputs[0]
        shift = _shift(value, readers, outputs)
        subtracted.append(np.zeros(number) if shift is None else np.ravel(shift.inputs[1].data))
        if shift is not None:
            gone.add(shift)
            value = shift.outputs[0]
        slices = _parts(value, readers, outputs)
        gone.update(op for part in slices or () for op in part)
        if slices is None:
            pieces.append((number, member.name, [value]))
        else:
            pieces += [(part[0].outputs[0].size, member.name, [op.outputs[0] for op in part]) for part in slices]
    sizes, names, wanted = zip(*pieces, strict=True)
    if not any(wanted):
        return graph
    b = Builder(packed.name)
    value, shift = b.read(packed), np.concatenate(subtracted)
    value = b.sub(value, constant(shift)) if shift.any() else value
    for piece, tensors in zip(b.split(value, sizes, names), wanted, strict=True):
        replacement.update(dict.fromkeys(tensors, piece))
    kept = (
        dataclasses.replace(op, inputs=tuple(replacement.get(t, t) for t in op.inputs))
        for op in graph.ops
        if op not in gone
    )
    return graph.replace(
        ops=(*b.ops, *kept), outputs={name: replacement.get(t, t) for name, t in graph.outputs.items()}
    )


def _shift(value: Tensor, readers: dict[Tensor, list[Op]], outputs: set[Tensor]) -> Op | None:
    """The only reader of `value`, if it subtracts a constant vector."""
    found = readers.get(value, ())
    if len(found) != 1 or value in outputs or found[0].kind != "SUB":
        return None
    x, y = found[0].inputs
    return found[0] if x is value and y.is_constant and y.shape == value.shape else None


def _parts(value: Tensor, readers: dict[Tensor, list[Op]], outputs: set[Tensor]) -> list[list[Op]] | None:
    """The readers of `value` by the part that they cut out of it; None unless the parts follow one another."""
    found = readers.get(value, ())
    if value in outputs or not found or any(op.kind != "SLICE" for op in found):
        return None
    parts: dict[tuple[int, int], list[Op]] = {}
    for op in found:
        parts.setdefault((int(op.inputs[1].data[0]), op.outputs[0].size), []).append(op)
    end = 0
    for begin, size in sorted(parts):
        if begin != end:
            return None
        end += size
    return [parts[key] for key in sorted(parts)] if end == value.size else None
