"""Trainable kernels in the layout of the C kernels, and where Keras keeps them in another."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.graph import Graph, Op, Tensor, Variable, consumers


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the program keeps a variable: Keras's array `shape`, its axes in the order of `permutation`."""

    shape: tuple[int, ...]
    permutation: tuple[int, ...]


def stored_kernels(graph: Graph) -> tuple[Graph, dict[str, Layout]]:
    """`graph`, whose variables lie as its operators read them, and the layout of each by name.

    Keras's kernels are [height, width, in, out] and [in, out], and the canonical graph turns them before each use.

    Raises:
        ValueError: two layers read one variable in two layouts.
    """
    layouts = {v.name: Layout(v.shape, tuple(range(len(v.shape)))) for v in graph.variables}
    readers = consumers(graph.ops)
    new: dict[Op, tuple[Tensor, Variable]] = {}  # by the read
    same: dict[Tensor, Tensor] = {}
    gone: set[Op] = set()
    for read in (op for op in graph.ops if op.kind == "READ_VARIABLE"):
        (value,), variable = read.outputs, read.attributes["variable"]
        users = readers.get(value, [])
        found = [_stored(op, value, readers) for op in users]
        if not any(found):
            continue
        if None in found or len({(permutation, shape) for permutation, shape, _ in found}) > 1:
            raise ValueError(f"the weight {value.name!r} is read in two layouts; train it in one layer alone")
        permutation, shape, _ = found[0]
        initial = np.ascontiguousarray(np.transpose(variable.initial, permutation)).reshape(shape)
        tensor = Tensor(variable.name, tuple(shape), variable.dtype)
        new[read] = tensor, Variable(variable.name, initial)
        layouts[variable.name] = Layout(variable.shape, permutation)
        same[value] = tensor
        same.update({last: tensor for _, _, last in found if last is not None})
        gone.update(op for op, (_, _, last) in zip(users, found) if last is not None)
    ops = tuple(_reading(op, new, same) for op in graph.ops if op not in gone)
    return graph.replace(ops=ops), layouts


def _stored(user: Op, value: Tensor, readers) -> tuple[tuple[int, ...], tuple[int, ...], Tensor | None] | None:
    """For a reader of a kernel: the axes as the C kernel wants them, its shape, and the tensor that `user` makes of it,
    where that only turns it."""
    shape = value.shape
    if user.kind == "TRANSPOSE":
        permutation = tuple(int(axis) for axis in user.inputs[1].data)
        return permutation, tuple(shape[axis] for axis in permutation), user.outputs[0]
    if user.kind == "MATMUL" and user.inputs[1] is value and not user.attributes["adj_y"]:
        return (1, 0), shape[::-1], None
    if user.kind == "DEPTHWISE_CONV_2D" and user.inputs[1] is value:
        return (3, 1, 2, 0), (shape[3], *shape[1:3], 1), None
    if user.kind == "RESHAPE" and len(shape) == 4:
        after = readers.get(user.outputs[0], [])
        if [op.kind for op in after] == ["DEPTHWISE_CONV_2D"] and after[0].inputs[1] is user.outputs[0]:
            return (2, 3, 0, 1), (shape[2] * shape[3], *shape[:2], 1), user.outputs[0]
    return None


def _reading(op: Op, new: dict[Op, tuple[Tensor, Variable]], same: dict[Tensor, Tensor]) -> Op:
    if op in new:
        tensor, variable = new[op]
        return dataclasses.replace(op, outputs=(tensor,), attributes={"variable": variable})
    if not any(t in same for t in op.inputs):
        return op
    turned = op.kind == "MATMUL" and op.inputs[1] in same and not op.attributes["adj_y"]
    attributes = {**op.attributes, "adj_y": True} if turned else op.attributes
    return dataclasses.replace(op, inputs=tuple(same.get(t, t) for t in op.inputs), attributes=attributes)
