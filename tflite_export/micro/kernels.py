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
    ops = list(graph.ops)
    for read in [op for op in ops if op.kind == "READ_VARIABLE"]:
        readers = consumers(ops)
        users = readers.get(read.outputs[0], [])
        if not users:
            continue
        turns = [op for op in users if op.kind == "TRANSPOSE"]
        products = [op for op in users if _is_turned_product(op, read.outputs[0])]
        permutation = None
        if turns:
            permutation = tuple(int(axis) for axis in turns[0].inputs[1].data)
        elif products:
            permutation = (1, 0)
        elif users[0].kind == "DEPTHWISE_CONV_2D" and users[0].inputs[1] is read.outputs[0]:
            permutation = (3, 1, 2, 0)
        if permutation is None:
            continue
        if len(turns) + len(products) < len(users) or any(
            tuple(op.inputs[1].data) != permutation for op in turns
        ):
            raise ValueError(f"the weight {read.outputs[0].name!r} is read in two layouts; train it in one layer alone")
        old: Variable = read.attributes["variable"]
        variable = Variable(old.name, np.ascontiguousarray(np.transpose(old.initial, permutation)))
        value = Tensor(old.name, variable.shape, variable.dtype)
        layouts[old.name] = Layout(old.shape, permutation)
        replaced = {op.outputs[0]: value for op in turns}
        ops = [
            _reading(op, read, value, variable, products, replaced) for op in ops if op not in turns
        ]
    return graph.replace(ops=tuple(ops)), layouts


def _is_turned_product(op: Op, kernel: Tensor) -> bool:
    return op.kind == "MATMUL" and op.inputs[1] is kernel and not op.attributes["adj_y"]


def _reading(op: Op, read: Op, value: Tensor, variable: Variable, products, replaced) -> Op:
    if op is read:
        return dataclasses.replace(op, outputs=(value,), attributes={"variable": variable})
    if op in products:
        inputs = (op.inputs[0], value)
        return dataclasses.replace(op, inputs=inputs, attributes={**op.attributes, "adj_y": True})
    if any(t in replaced for t in op.inputs):
        return dataclasses.replace(op, inputs=tuple(replaced.get(t, t) for t in op.inputs))
    return op
