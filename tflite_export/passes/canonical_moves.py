"""Operators that move values, by the few that differentiation knows.

Cuts become SLICE, joins CONCATENATION, repetitions BROADCAST, every other choice along an axis GATHER with constant
indices; RESHAPE does the rest. None of them has more than one output, and every runtime computes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor


def _reshape(b: Builder, op: Op) -> Tensor:
    return b.reshape(op.inputs[0], op.outputs[0].shape)


def _strided_slice(b: Builder, op: Op) -> Tensor | None:
    """One SLICE around all that is taken, then every s-th of it, then backwards where the stride is negative."""
    x = op.inputs[0]
    if not all(tensor.is_constant for tensor in op.inputs[1:]):
        return None
    taken = _taken(op)
    forward = [_forwards(positions) for positions in taken]
    windows = [_window(positions, size) for positions, size in zip(forward, x.shape)]
    y = b.slice(x, [window.start for window in windows], [len(window) for window in windows])
    for axis, (positions, window) in enumerate(zip(forward, windows)):
        if positions.step > 1:
            y = _every(b, y, axis, positions.step, positions.start - window.start, len(positions))
    for axis, positions in enumerate(taken):
        if positions.step < 0:
            y = b.gather(y, range(len(positions))[::-1], axis)
    return b.reshape(y, op.outputs[0].shape)


def _taken(op: Op) -> list[range]:
    """Which positions of each axis a STRIDED_SLICE takes; its masks have one bit per entry of begin, end and strides.

    An ellipsis stands for all axes that no other entry means, a new axis for none, a shrunk one takes one position.
    """
    x, *bounds = op.inputs
    begins, ends, strides = ([int(i) for i in tensor.data.ravel()] for tensor in bounds)

    def has(mask: str, entry: int) -> bool:
        return bool(op.attributes.get(mask, 0) >> entry & 1)

    added = sum(has("new_axis_mask", i) or has("ellipsis_mask", i) for i in range(len(begins)))
    whole = len(x.shape) - (len(begins) - added)
    taken: list[range] = []
    for i, (begin, end, stride) in enumerate(zip(begins, ends, strides)):
        if has("ellipsis_mask", i):
            taken += map(range, x.shape[len(taken) : len(taken) + whole])
            continue
        if has("new_axis_mask", i):
            continue
        size = x.shape[len(taken)]
        if has("shrink_axis_mask", i):
            taken.append(range(size)[begin % size :][:1])
            continue
        end = begin + end if op.attributes.get("offset", False) else end
        first, last = None if has("begin_mask", i) else begin, None if has("end_mask", i) else end
        taken.append(range(size)[first:last:stride])
    return [*taken, *map(range, x.shape[len(taken) :])]


def _forwards(positions: range) -> range:
    """The same positions in ascending order; a single one has no stride."""
    first, last, step = min(positions), max(positions), abs(positions.step)
    return range(first, last + 1, step if len(positions) > 1 else 1)


def _window(positions: range, size: int) -> range:
    """The part of an axis of `size` to cut out for `positions`: whole strides of it, where there are enough."""
    whole = len(positions) * positions.step
    begin = min(positions.start, max(0, size - whole))
    return range(begin, min(begin + whole, size))


def _every(b: Builder, x: Tensor, axis: int, step: int, first: int, count: int) -> Tensor:
    """`count` of the slices of `x` along `axis`, every step-th from `first` on; x has `count` whole steps or less."""
    missing = count * step - x.shape[axis]
    x = b.pad(x, [(0, missing if i == axis else 0) for i in range(len(x.shape))])
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    rows = b.reshape(x, (outer * count, step, inner))
    taken = b.slice(rows, (0, first, 0), (outer * count, 1, inner))
    return b.reshape(taken, (*x.shape[:axis], count, *x.shape[axis + 1 :]))


def _gather(b: Builder, op: Op) -> Tensor | None:
    x, indices = op.inputs
    if not indices.is_constant or op.attributes.get("batch_dims", 0):
        return None
    y = b.gather(x, indices.data.ravel(), op.attributes.get("axis", 0) % len(x.shape))
    return b.reshape(y, op.outputs[0].shape)


def _choose(b: Builder, x: Tensor, choices: Sequence[np.ndarray]) -> Tensor:
    """`x` at the indices that stand in `choices` for each of its axes."""
    for axis, indices in enumerate(choices):
        x = b.gather(x, indices, axis)
    return x


def _reverse(b: Builder, op: Op) -> Tensor:
    x, axes = op.inputs
    reversed_axes = {int(axis) % len(x.shape) for axis in axes.data.ravel()}
    order = [np.arange(size)[:: -1 if axis in reversed_axes else 1] for axis, size in enumerate(x.shape)]
    return _choose(b, x, order)


def _mirror_pad(b: Builder, op: Op) -> Tensor:
    x, amounts = op.inputs
    mode = op.attributes["mode"].lower()
    return _choose(b, x, [np.pad(np.arange(n), around, mode=mode) for n, around in zip(x.shape, amounts.data)])


def _resize_nearest_neighbor(b: Builder, op: Op) -> Tensor:
    x = op.inputs[0]
    for axis in (1, 2):
        size, out = x.shape[axis], op.outputs[0].shape[axis]
        nearest = _nearest(size, out, op.attributes)
        if out % size == 0 and np.array_equal(nearest, np.arange(out) // (out // size)):
            shape = (*x.shape[:axis], out, *x.shape[axis + 1 :])
            x = b.reshape(b.copies(x, out // size, axis + 1), shape) if out != size else x
        else:
            x = b.gather(x, nearest, axis)
    return x


def _nearest(size: int, out: int, attributes) -> np.ndarray:
    """[out]: the pixel that each pixel of a resized axis shows.

    Source: TFLite's kernels/internal/reference/resize_nearest_neighbor.h, which computes in float32.
    """
    one, half = np.float32(1), np.float32(0.5)
    corners = attributes.get("align_corners", False)
    scale = (size - one) / (out - one) if corners and out > 1 else np.float32(size) / np.float32(out)
    position = (np.arange(out, dtype=np.float32) + (half if attributes.get("half_pixel_centers", False) else 0)) * scale
    nearest = np.floor(position + half if corners else position).astype(int)  # half away from zero
    return np.minimum(nearest, size - 1)


def _tile(b: Builder, op: Op) -> Tensor:
    x, multiples = op.inputs
    for axis, times in enumerate(int(n) for n in multiples.data.ravel()):
        if times != 1:
            shape = (*x.shape[:axis], times * x.shape[axis], *x.shape[axis + 1 :])
            x = b.reshape(b.copies(x, times, axis), shape)
    return x


def _broadcast_to(b: Builder, op: Op) -> Tensor:
    x, shape = op.inputs[0], op.outputs[0].shape
    return b.broadcast(b.reshape(x, (1,) * (len(shape) - len(x.shape)) + x.shape), shape)


def _padv2(b: Builder, op: Op) -> Tensor | None:
    """Zeros around x, and the value added there."""
    x, amounts, value = op.inputs
    if x.dtype != "float32":
        return None
    y, number = b.pad(x, amounts.data), float(value.data.ravel()[0])
    if number == 0 or y is x:
        return y
    inner = [n if around.any() else 1 for n, around in zip(x.shape, amounts.data)]
    return b.add(y, constant(np.pad(np.zeros(inner), amounts.data, constant_values=number)))


def _pack(b: Builder, op: Op) -> Tensor:
    (output,) = op.outputs
    axis = op.attributes.get("axis", 0) % len(output.shape)
    parts = [b.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:])) for x in op.inputs]
    return b.concatenate(parts, axis) if len(parts) > 1 else parts[0]


def _unpack(b: Builder, op: Op) -> tuple[Tensor, ...]:
    (x,) = op.inputs
    axis = op.attributes.get("axis", 0) % len(x.shape)
    parts = _cut(b, x, axis, [1] * len(op.outputs))
    return tuple(b.reshape(part, output.shape) for part, output in zip(parts, op.outputs, strict=True))


def _split(b: Builder, op: Op) -> tuple[Tensor, ...]:
    x, axis = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
    axis = int(axis.data.ravel()[0]) % len(x.shape)
    return tuple(_cut(b, x, axis, [output.shape[axis] for output in op.outputs]))


def _cut(b: Builder, x: Tensor, axis: int, sizes: Sequence[int]) -> list[Tensor]:
    """`x` in parts of these sizes along `axis`."""
    parts, begin = [], 0
    for size in sizes:
        start = [begin if i == axis else 0 for i in range(len(x.shape))]
        parts.append(b.slice(x, start, (*x.shape[:axis], size, *x.shape[axis + 1 :])))
        begin += size
    return parts


RULES = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "GATHER": _gather,
    "REVERSE_V2": _reverse,
    "MIRROR_PAD": _mirror_pad,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "PADV2": _padv2,
    "PACK": _pack,
    "UNPACK": _unpack,
    "SPLIT": _split,
    "SPLIT_V": _split,
}
