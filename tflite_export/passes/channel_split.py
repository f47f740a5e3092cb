"""Computes wide maps slice by slice.

An inverted residual block widens its input, works on every channel by itself, and narrows again. Nothing between the
two dense convolutions mixes channels, so a part of the channels can go all the way through before the next part begins:

    y = project(act(depthwise(act(expand(x)))))  =  sum over parts i of  project_i(act(depthwise_i(act(expand_i(x)))))

No product is computed twice. Only one part's maps are alive at a time, forward and, because the gradient is taken of
what stands here, backward. What differs is the order in which the narrowing convolution adds up.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tflite_export.builder import Builder, integers
from tflite_export.graph import Graph, Op, Tensor, producers, substitute

_UNARY = frozenset(
    "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 LEAKY_RELU ELU SELU LOGISTIC TANH SOFTPLUS SWISH SWISH_ONE_BIT HARD_SWISH "
    "HARD_SWISH_ONE_BIT GELU SQRT RSQRT SQUARE EXP LOG NEG ABS SIN COS".split()
)
_BINARY = frozenset("ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE".split())
_WINDOWS = frozenset("DEPTHWISE_CONV_2D AVERAGE_POOL_2D MAX_POOL_2D RESIZE_BILINEAR".split())
_VECTOR_WIDTH = 8  # channels that kernels compute together
# Of the widest map: the last without a budget, with one the first that fits. Fewer parts take fewer operators and leave
# better gaps, where wide maps are not what fills the arena. XNNPACK keeps a table of addresses for every depthwise
# convolution, however few its channels.
PARTS = {"xnnpack": (3,), "builtin": (4, 8), "micro": (8,), "tinytl": (8,)}
_SMALL = 8  # a tensor of this part of the widest one's bytes may be stored whole


def narrow_maps(graph: Graph, parts: int) -> Graph:
    """`graph` with its widest maps in so many parts, and whatever is wider than those, where that is possible."""
    return split_channels(graph, max(op.outputs[0].nbytes for op in graph.ops if op.outputs) // parts)


def split_channels(graph: Graph, largest: int) -> Graph:
    """`graph`, canonical, with the maps of more than `largest` bytes between two dense convolutions in equal parts.

    A part is a multiple of eight channels where the whole is, and of whole normalization groups; it is larger than
    `largest` only where the least such multiple is.
    """
    for op in graph.ops:
        if _is_dense(op) and op.outputs[0].nbytes > largest:
            first = producers(graph.ops).get(op.outputs[0])  # None where the end of a region before it stood
            region = first and _region(graph, first)
            if region is not None and len(region.parts(largest)) > 1:
                graph = _split(graph, region, region.parts(largest))
    return graph


@dataclasses.dataclass(frozen=True)
class _Region:
    """What one dense convolution feeds, channel by channel.

    `axis` is where every tensor of the region has its channels, perhaps as groups of channels; `operators` are those
    that write them, and `ends`, in the graph's order; `stored` are small tensors that others read as well.
    """

    operators: tuple[Op, ...]
    ends: tuple[Op, ...]
    axis: dict[Tensor, int]
    stored: tuple[Tensor, ...]

    @property
    def channels(self) -> int:
        return self.operators[0].outputs[0].shape[3]

    def parts(self, largest: int) -> list[tuple[int, int]]:
        """(begin, end) of every part, in channels."""
        widest = max(tensor.nbytes for tensor in self.axis)
        channels = self.channels
        unit = channels // math.gcd(*(tensor.shape[axis] for tensor, axis in self.axis.items()))
        if channels % math.lcm(unit, _VECTOR_WIDTH) == 0:
            unit = math.lcm(unit, _VECTOR_WIDTH)
        units = channels // unit
        count = -(-units // max(1, units * largest // widest))
        bounds = [unit * (units * i // count) for i in range(count + 1)]
        return list(itertools.pairwise(bounds))


def _is_dense(op: Op) -> bool:
    """A convolution with a frozen kernel that reads all of its input's channels."""
    return op.kind == "CONV_2D" and op.inputs[1].is_constant and op.inputs[1].shape[3] == op.inputs[0].shape[3]


def _region(graph: Graph, first: Op) -> _Region | None:
    """The region that begins at `first`, None where something in it that is not small is needed whole."""
    axis = {first.outputs[0]: 3}
    operators, ends, stored = [first], [], []
    behind: set[Tensor] = set()  # what follows from the region: none of its operators may wait for that
    for op in graph.ops[graph.ops.index(first) + 1 :]:
        read = [tensor for tensor in op.inputs if tensor in axis]
        waits = any(tensor in behind for tensor in op.inputs)
        followed = _followed(op, axis, first.outputs[0].nbytes) if read and not waits else None
        if followed is not None:
            axis[op.outputs[0]] = followed
            operators.append(op)
        elif read or waits:
            behind.update(op.outputs)
            if _is_dense(op) and axis.get(op.inputs[0]) == 3:
                operators.append(op)
                ends.append(op)
            else:
                stored += read
    stored += [tensor for tensor in graph.outputs.values() if tensor in axis]
    if not ends or any(_SMALL * tensor.nbytes > first.outputs[0].nbytes for tensor in stored):
        return None
    return _Region(tuple(operators), tuple(ends), axis, tuple(dict.fromkeys(stored)))


def _followed(op: Op, axis: dict[Tensor, int], widest: int) -> int | None:
    """Where the channels of `op`'s output are if it treats every channel by itself."""
    x = op.inputs[0]
    if op.kind in _UNARY:
        return axis[x]
    if op.kind in _BINARY:
        from_end = {len(t.shape) - axis[t] for t in op.inputs if t in axis}
        small = all(t in axis or _SMALL * t.nbytes <= widest for t in op.inputs)
        return len(op.outputs[0].shape) - from_end.pop() if len(from_end) == 1 and small else None
    if x not in axis or any(t in axis for t in op.inputs[1:]):
        return None
    if op.kind in _WINDOWS:
        multiplied = op.kind == "DEPTHWISE_CONV_2D" and op.inputs[1].shape[3] != x.shape[3]
        return None if multiplied or axis[x] != 3 else 3
    if op.kind in ("SUM", "MEAN"):
        reduced = {int(a) % len(x.shape) for a in op.inputs[1].data.ravel()}
        if axis[x] in reduced:
            return None
        return axis[x] - (0 if op.attributes.get("keep_dims") else sum(a < axis[x] for a in reduced))
    if op.kind == "PAD":
        return None if op.inputs[1].data[axis[x]].any() else axis[x]
    if op.kind == "SLICE":
        return axis[x] if op.outputs[0].shape[axis[x]] == x.shape[axis[x]] else None
    if op.kind == "GATHER":
        return axis[x] if op.attributes["axis"] != axis[x] and op.inputs[1].is_constant else None
    return _reshaped(x.shape, axis[x], op.outputs[0].shape) if op.kind == "RESHAPE" else None


def _reshaped(shape: Sequence[int], axis: int, new: Sequence[int]) -> int | None:
    """The axis of `new` that counts the channels of `shape`, or groups of them."""
    before = math.prod(shape[:axis])
    for place, size in enumerate(new):
        if math.prod(new[:place]) == before and size > 1:
            return place if shape[axis] % size == 0 or size % shape[axis] == 0 else None
    return None


def _split(graph: Graph, region: _Region, parts: Sequence[tuple[int, int]]) -> Graph:
    """`graph` with `region` part after part where its last operator stood, and what reads its results behind it."""
    b, replacement = Builder(), {}
    late = {*region.stored, *(op.outputs[0] for op in region.ends)}
    waiting = []
    for op in graph.ops:
        if op is region.operators[-1]:
            replacement.update(_in_parts(b, region, parts))
            for reader in substitute(waiting, replacement):
                b.copy(reader)
        elif op in region.operators:
            continue
        elif replacement:
            b.copy(*substitute((op,), replacement))
        elif late.intersection(op.inputs):
            waiting.append(op)
            late.update(op.outputs)
        else:
            b.copy(op)
    outputs = {name: replacement.get(tensor, tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(ops=tuple(b.ops), outputs=outputs)


def _in_parts(b: Builder, region: _Region, parts: Sequence[tuple[int, int]]) -> dict[Tensor, Tensor]:
    """Adds all parts of a region; returns what takes the place of the tensors that others read."""
    sums: dict[Tensor, Tensor] = {}
    pieces = {tensor: [] for tensor in region.stored}
    for number, (begin, end) in enumerate(parts):
        part = _Part(b, region, begin, end, f"/part_{number}")
        for op in region.operators:
            with b.at(op.origin):
                if op in region.ends:
                    y, total = part.narrow(op), sums.get(op.outputs[0])
                    sums[op.outputs[0]] = y if total is None else b.add(total, y)
                else:
                    part.copy(op)
        for tensor, found in pieces.items():
            found.append(part.of[tensor])
    return {**sums, **{tensor: b.concatenate(found, region.axis[tensor]) for tensor, found in pieces.items()}}


class _Part:
    """The channels [begin, end) of a region."""

    def __init__(self, b: Builder, region: _Region, begin: int, end: int, suffix: str):
        self.b, self.region, self.begin, self.end, self.suffix = b, region, begin, end, suffix
        self.of: dict[Tensor, Tensor] = {}

    def copy(self, op: Op) -> None:
        """`op` on these channels."""
        output = op.outputs[0]
        axis = self.region.axis[output]
        shape = self._cut(output.shape, axis)
        attributes = dict(op.attributes)
        if op is self.region.operators[0]:
            inputs = (op.inputs[0], self._sliced(op.inputs[1], 0), *op.inputs[2:])
        elif op.kind == "RESHAPE":
            inputs, attributes["new_shape"] = (self.of[op.inputs[0]], integers(shape)), shape
        elif op.kind == "SLICE":
            inputs = (self.of[op.inputs[0]], op.inputs[1], integers(shape))
        else:
            inputs = tuple(self._operand(op, tensor, len(output.shape) - axis) for tensor in op.inputs)
        self.of[output] = dataclasses.replace(output, name=output.name + self.suffix, shape=shape)
        self.b.copy(dataclasses.replace(op, inputs=inputs, outputs=(self.of[output],), attributes=attributes))

    def narrow(self, op: Op) -> Tensor:
        """What these channels add to the output of a dense convolution."""
        inputs = (self.of[op.inputs[0]], self._sliced(op.inputs[1], 3), *op.inputs[2:])
        return self.b.op(op.kind, inputs, op.outputs[0].shape, **op.attributes)

    def _operand(self, op: Op, tensor: Tensor | None, from_end: int) -> Tensor | None:
        if tensor is None or tensor in self.of:
            return self.of.get(tensor)
        if op.kind not in (*_BINARY, "DEPTHWISE_CONV_2D"):
            return tensor  # axes, sizes, paddings
        axis = len(tensor.shape) - from_end
        return tensor if axis < 0 or tensor.shape[axis] == 1 else self._sliced(tensor, axis)

    def _cut(self, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        size = shape[axis] * (self.end - self.begin) // self.region.channels
        return (*shape[:axis], size, *shape[axis + 1 :])

    def _sliced(self, tensor: Tensor, axis: int) -> Tensor:
        """The slice of an operand from outside that belongs to these channels."""
        begin, shape = tensor.shape[axis] * self.begin // self.region.channels, self._cut(tensor.shape, axis)
        if tensor.is_constant:
            data = np.ascontiguousarray(np.take(tensor.data, range(begin, begin + shape[axis]), axis))
            return dataclasses.replace(tensor, name=tensor.name + self.suffix, shape=shape, data=data)
        return self.b.slice(tensor, [begin if i == axis else 0 for i in range(len(shape))], shape)
