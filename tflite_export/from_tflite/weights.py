"""Kernels and biases of a graph that came out of a .tflite file, and readable names for them.

A .tflite file has constants, not layers. What stands here for a layer is an operator that multiplies with a constant
kernel: CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED, and BATCH_MATMUL with a constant matrix. Its bias
is the operator's own, or, where that is absent or all zeros, the vector that an ADD right behind it adds.

Names: the scope in which the kernel was made ("block_3/conv" of "model/block_3/conv/Conv2D"), without the first part
where all names share it; where the file has no such scope, the name of what the operator writes. A name that is taken
gets "_1", "_2", … in the order of the graph.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from tflite_export.graph import Graph, Op, Tensor, consumers

_KERNEL = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "BATCH_MATMUL": 1, "TRANSPOSE_CONV": 1}
_DATA = {"TRANSPOSE_CONV": 2}  # the position of what the kernel multiplies; else 0
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
_MADE_BY = re.compile(r"(conv|depthwise|matmul|einsum|dense|tensordot)", re.IGNORECASE)
_MEANINGLESS = re.compile(r"^(arith\.|tfl\.|StatefulPartitionedCall|PartitionedCall|Identity|constant)")


@dataclasses.dataclass(frozen=True)
class Operand:
    """Where a constant enters the graph: an input of an operator."""

    op: Op
    position: int

    @property
    def tensor(self) -> Tensor:
        return self.op.inputs[self.position]


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """An operator with a constant kernel.

    Attributes:
        name: unique in the graph.
        op: the operator.
        kernel: its kernel.
        bias: what is added per output channel; None where nothing is.
    """

    name: str
    op: Op
    kernel: Operand
    bias: Operand | None

    @property
    def data(self) -> Tensor:
        """What the kernel multiplies."""
        return self.op.inputs[_DATA.get(self.op.kind, 0)]

    @property
    def end(self) -> Op:
        """The operator that adds the bias, which may be the same."""
        return self.op if self.bias is None else self.bias.op


def layers_of(graph: Graph) -> list[Layer]:
    """The layers of a graph without fused activations, in its order."""
    readers, outputs = consumers(graph.ops), set(graph.outputs.values())
    found = [op for op in graph.ops if _has_kernel(op)]
    names = unique_names(_scopes(found))
    layers = []
    for op, name in zip(found, names, strict=True):
        (y,) = op.outputs
        follower = readers.get(y, [None])[0] if len(readers.get(y, ())) == 1 and y not in outputs else None
        layers.append(Layer(name, op, Operand(op, _KERNEL[op.kind]), _bias(op, follower)))
    return layers


def unique_names(wanted: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Every name, with "_1", "_2", … behind it where it is taken."""
    seen, names = set(taken), []
    for name in wanted:
        candidates = (name, *(f"{name}_{i}" for i in range(1, len(seen) + 2)))
        names.append(next(candidate for candidate in candidates if candidate not in seen))
        seen.add(names[-1])
    return names


def _has_kernel(op: Op) -> bool:
    position = _KERNEL.get(op.kind)
    if position is None or not op.inputs[position].is_constant:
        return False
    data = op.inputs[_DATA.get(op.kind, 0)]
    return not data.is_constant and (op.kind != "BATCH_MATMUL" or len(op.inputs[1].shape) == 2)


def _bias(op: Op, follower: Op | None) -> Operand | None:
    position = _BIAS.get(op.kind, len(op.inputs))
    own = Operand(op, position) if position < len(op.inputs) and op.inputs[position] is not None else None
    if own is not None and (not own.tensor.is_constant or own.tensor.data.any()):
        return own if own.tensor.is_constant else None
    channels = op.outputs[0].shape[-1]
    if follower is not None and follower.kind == "ADD":
        for i, tensor in enumerate(follower.inputs):
            if tensor.is_constant and tensor.size == channels and tensor.shape[-1:] == (channels,):
                return Operand(follower, i)
    return own


def _scopes(ops: list[Op]) -> Iterator[str]:
    names = [_scope(op) for op in ops]
    first = {name.split("/")[0] for name in names if "/" in name}
    shared = len(first) == 1 and all("/" in name for name in names)
    return (name.split("/", 1)[1] if shared else name for name in names)


def _scope(op: Op) -> str:
    """The scope of the kernel, told from the names of the kernel and of what the operator writes."""
    kernel, output = op.inputs[_KERNEL[op.kind]].name, op.outputs[0].name
    paths = [path for path in (*kernel.split(";"), *output.split(";")) if path and not _MEANINGLESS.match(path)]
    made = [path for path in paths if "/" in path and _MADE_BY.search(path.rsplit("/", 1)[1])]
    scoped = made or [path for path in paths if "/" in path]
    if scoped:
        return scoped[0].rsplit("/", 1)[0]
    return paths[0] if paths else op.kind.lower()
