"""GroupNormalization, found in what the converter makes of it."""

from __future__ import annotations

import numpy as np

from tflite_export.builder import constant
from tflite_export.graph import Graph, Op, Tensor, consumers
from tflite_export.passes.dead_code import remove_dead_code


def name_group_norms(graph: Graph) -> Graph:
    """A canonical forward graph with "group_norm" for every RESHAPE -> MEAN -> … -> MUL gamma -> ADD beta."""
    readers = consumers(graph.ops)
    found: dict[Op, Op] = {}  # the last operator of each -> what takes its place
    for op in graph.ops:
        if op.kind == "RESHAPE" and (match := _match(op, readers)):
            last, replacement = match
            found[last] = replacement
    return remove_dead_code(graph.replace(ops=tuple(found.get(op, op) for op in graph.ops)))


def _match(grouped: Op, readers) -> tuple[Op, Op] | None:
    """``x [1, h, w, c] -> [1, h w, groups, c / groups]``, normalised over pixels and the last axis, and back."""
    x, (parts,) = grouped.inputs[0], grouped.outputs
    if len(x.shape) != 4 or len(parts.shape) != 4 or parts.shape[2] * parts.shape[3] != x.shape[3]:
        return None
    mean = _reader(parts, readers, "MEAN")
    if mean is None or sorted(int(a) for a in mean.inputs[1].data.ravel()) != [1, 3]:
        return None
    centred = _reader(mean.outputs[0], readers, "SUB")
    square = centred and _reader(centred.outputs[0], readers, "SQUARE")
    variance = square and _reader(square.outputs[0], readers, "MEAN")
    shifted = variance and _reader(variance.outputs[0], readers, "ADD")
    root = shifted and _reader(shifted.outputs[0], readers, "RSQRT")
    normalised = root and _reader(root.outputs[0], readers, "MUL")
    if not normalised or normalised.inputs[0] is not centred.outputs[0]:
        return None
    back = _reader(normalised.outputs[0], readers, "RESHAPE")
    epsilon = next((t for t in shifted.inputs if t.is_constant and t.size == 1), None)
    if back is None or back.outputs[0].shape != x.shape or epsilon is None:
        return None
    last, channels = back, x.shape[3]
    gamma, beta = constant(np.ones(channels)), constant(np.zeros(channels))
    if scaled := _with_vector(last, readers, "MUL", channels):
        last, gamma = scaled
    if moved := _with_vector(last, readers, "ADD", channels):
        last, beta = moved
    attributes = {"groups": parts.shape[2], "epsilon": float(epsilon.data.ravel()[0]), "activation": "NONE"}
    return last, Op("group_norm", (x, gamma, beta), last.outputs, attributes, last.origin)


def _reader(tensor: Tensor, readers, kind: str) -> Op | None:
    return next((op for op in readers.get(tensor, ()) if op.kind == kind), None)


def _with_vector(op: Op, readers, kind: str, channels: int) -> tuple[Op, Tensor] | None:
    (y,) = op.outputs
    if len(readers.get(y, ())) != 1 or (following := _reader(y, readers, kind)) is None:
        return None
    other = following.inputs[1] if following.inputs[0] is y else following.inputs[0]
    return (following, other) if other.shape == (channels,) else None
