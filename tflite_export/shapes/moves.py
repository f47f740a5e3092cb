"""Operators that move values, or only say what shape they have."""

from __future__ import annotations

import math

import numpy as np

from tflite_export.graph import Op, Tensor
from tflite_export.shapes.operands import (
    LARGEST,
    UnknownShape,
    broadcast,
    expect,
    expect_dtype,
    expect_rank,
    expect_same_dtype,
    integers,
    name_of,
    position_of,
    positive,
)


def _reshape(op, x, shape=None):
    expect_same_dtype(op, x)
    if shape is None:
        new = [int(n) for n in op.attributes.get("new_shape", ())]
    else:
        expect_rank(op, shape, 1)
        expect_dtype(op, shape, "int32")
        new = integers(op, shape)
    known = math.prod(n for n in new if n != -1)
    legal = new.count(-1) <= 1 and all(n > 0 or n == -1 for n in new)
    fits = legal and (x.size % known == 0 if -1 in new else x.size == known)
    expect(op, fits, f"shape {new} for {x}", f"{x.size} values, at most one axis -1")
    return [tuple(x.size // known if n == -1 else n for n in new)]


def _squeeze(op, x):
    expect_same_dtype(op, x)
    named = {position_of(op, axis, len(x.shape)) for axis in op.attributes.get("squeeze_dims", ())}
    axes = named or {i for i, n in enumerate(x.shape) if n == 1}
    expect(op, all(x.shape[i] == 1 for i in axes), f"axes {sorted(axes)} of {x}", "axes of size 1")
    return [tuple(n for i, n in enumerate(x.shape) if i not in axes)]


def _expand_dims(op, x, axis):
    expect_same_dtype(op, x)
    position = position_of(op, integers(op, axis, 1)[0], len(x.shape) + 1)
    return [(*x.shape[:position], 1, *x.shape[position:])]


def _transpose(op, x, permutation):
    expect_same_dtype(op, x)
    expect(op, len(x.shape) <= 6, f"{x}", "at most 6 axes")
    expect_dtype(op, permutation, "int32")
    order = [position_of(op, axis, len(x.shape)) for axis in integers(op, permutation, len(x.shape))]
    expect(op, len({*order}) == len(order), f"permutation {order}", "every axis once")
    return [tuple(x.shape[axis] for axis in order)]


def _amounts(op: Op, x: Tensor, paddings: Tensor) -> list[tuple[int, int]]:
    expect(op, paddings.shape == (len(x.shape), 2), f"{paddings} for {x}", f"shape [{len(x.shape)}, 2]")
    values = integers(op, paddings)
    pairs = list(zip(values[::2], values[1::2]))
    expect(op, all(0 <= amount <= LARGEST for amount in values), f"paddings {pairs}", "no negative one")
    return pairs


def _pad(op, x, paddings, value=None):
    expect_same_dtype(op, x)
    expect(op, len(x.shape) <= 5, f"{x}", "at most 5 axes")
    expect(op, value is None or (value.dtype, value.size) == (x.dtype, 1), f"the value {value}", f"one {x.dtype}")
    return [tuple(n + sum(pair) for n, pair in zip(x.shape, _amounts(op, x, paddings)))]


def _mirror_pad(op, x, paddings):
    expect_same_dtype(op, x)
    pairs = _amounts(op, x, paddings)
    excess = 1 if op.attributes.get("mode", "REFLECT") == "REFLECT" else 0
    fits = all(max(pair) <= n - excess for n, pair in zip(x.shape, pairs))
    expect(op, fits, f"paddings {pairs} for {x}", "no more than there is to mirror")
    return [tuple(n + sum(pair) for n, pair in zip(x.shape, pairs))]


def _slice(op, x, begin, size):
    expect_same_dtype(op, x)
    expect(op, len(x.shape) <= 5, f"{x}", "at most 5 axes")
    begins, sizes = (integers(op, operand, len(x.shape)) for operand in (begin, size))
    shape = [n - b if s == -1 else s for n, b, s in zip(x.shape, begins, sizes)]
    fits = all(b >= 0 and s > 0 and b + s <= n for n, b, s in zip(x.shape, begins, shape))
    expect(op, fits, f"begin {begins} and size {sizes} for {x}", "a part of it")
    return [shape]


def _strided_slice(op, x, begin, end, strides):
    """Masks have one bit per entry of `begin`: whole side, ellipsis, new axis, or an index that drops its axis."""
    expect_same_dtype(op, x)
    entries = [integers(op, operand, begin.size) for operand in (begin, end, strides)]
    expect(op, all(t.dtype == "int32" and len(t.shape) == 1 for t in (begin, end, strides)), "indices", "int32 lists")

    def bit(mask, i):
        return int(op.attributes.get(mask, 0)) >> i & 1

    count = begin.size
    ellipses = [i for i in range(count) if bit("ellipsis_mask", i)]
    consumed = sum(not bit("new_axis_mask", i) for i in range(count)) - len(ellipses)
    expect(op, len(ellipses) <= 1 and consumed <= len(x.shape), f"{count} indices for {x}", "one per axis at most")
    shape, axis = [], 0
    for i, (first, last, step) in enumerate(zip(*entries)):
        if bit("ellipsis_mask", i):
            whole = len(x.shape) - consumed
            shape += x.shape[axis : axis + whole]
            axis += whole
        elif bit("new_axis_mask", i):
            shape.append(1)
        else:
            expect(op, step != 0, "stride 0", "another")
            n = x.shape[axis]
            axis += 1
            if bit("shrink_axis_mask", i):
                expect(op, -n <= first < n and step > 0, f"index {first} with stride {step}", f"one of {n}, stride 1")
                continue
            last = first + last if op.attributes.get("offset", False) else last
            ends = (None if bit("begin_mask", i) else first, None if bit("end_mask", i) else last)
            shape.append(len(range(*slice(*ends, step).indices(n))))
    return [(*shape, *x.shape[axis:])]


def _concatenation(op, *xs):
    expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    expect_same_dtype(op, *xs)
    axis = position_of(op, op.attributes.get("axis", 0), len(xs[0].shape))
    others = {x.shape[:axis] + x.shape[axis + 1 :] for x in xs}
    fits = len(others) == 1 and all(len(x.shape) == len(xs[0].shape) for x in xs)
    expect(op, fits, ", ".join(map(repr, xs)), f"shapes that differ along axis {axis} only")
    return [(*xs[0].shape[:axis], sum(x.shape[axis] for x in xs), *xs[0].shape[axis + 1 :])]


def _split(op, axis, x):
    expect_same_dtype(op, x)
    position = position_of(op, integers(op, axis, 1)[0], len(x.shape))
    parts, n = int(op.attributes.get("num_splits", 0)), x.shape[position]
    expect(op, parts == len(op.outputs) > 0 and n % parts == 0, f"{parts} parts of {x}", "equal parts, one per output")
    return [(*x.shape[:position], n // parts, *x.shape[position + 1 :])] * parts


def _split_v(op, x, sizes, axis):
    expect_same_dtype(op, x)
    position = position_of(op, integers(op, axis, 1)[0], len(x.shape))
    parts, n = integers(op, sizes, len(op.outputs)), x.shape[position]
    known = sum(size for size in parts if size != -1)
    legal = parts.count(-1) <= 1 and all(size > 0 or size == -1 for size in parts)
    fits = legal and (known < n if -1 in parts else known == n)
    expect(op, fits, f"sizes {parts} of {x}", f"{n} in all")
    return [(*x.shape[:position], n - known if size == -1 else size, *x.shape[position + 1 :]) for size in parts]


def _pack(op, *xs):
    expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    expect_same_dtype(op, *xs)
    count = op.attributes.get("values_count", len(xs))
    expect(op, count == len(xs), f"{len(xs)} operands", f"values_count, {count}")
    expect(op, all(x.shape == xs[0].shape for x in xs), ", ".join(map(repr, xs)), "operands of one shape")
    axis = position_of(op, op.attributes.get("axis", 0), len(xs[0].shape) + 1)
    return [(*xs[0].shape[:axis], len(xs), *xs[0].shape[axis:])]


def _unpack(op, x):
    expect_same_dtype(op, x)
    axis = position_of(op, op.attributes.get("axis", 0), len(x.shape))
    count = op.attributes.get("num", len(op.outputs))
    expect(op, count == len(op.outputs) == x.shape[axis], f"{count} parts of {x}", f"{x.shape[axis]}")
    return [x.shape[:axis] + x.shape[axis + 1 :]] * len(op.outputs)


def _gather(op, x, indices):
    expect_same_dtype(op, x)
    expect_dtype(op, indices, "int32", "int64", "int16")
    axis = position_of(op, op.attributes.get("axis", 0), len(x.shape))
    batch = op.attributes.get("batch_dims", 0)
    batch += len(indices.shape) if batch < 0 else 0
    fits = 0 <= batch <= min(axis, len(indices.shape)) and x.shape[:batch] == indices.shape[:batch]
    expect(op, fits, f"batch_dims {batch} for {x} and {indices}", "axes that both begin with")
    inside = not indices.is_constant or (np.min(indices.data) >= 0 and np.max(indices.data) < x.shape[axis])
    expect(op, inside, f"indices {indices}", f"0 to {x.shape[axis] - 1}")
    return [(*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])]


def _tile(op, x, multiples):
    expect_same_dtype(op, x)
    times = integers(op, multiples, len(x.shape))
    expect(op, all(n > 0 for n in times), f"multiples {times}", "positive ones")
    return [tuple(n * count for n, count in zip(x.shape, times))]


def _broadcast_to(op, x, shape):
    expect_same_dtype(op, x)
    expect_rank(op, shape, 1)
    target = tuple(integers(op, shape))
    legal = all(n > 0 for n in target) and broadcast(op, x.shape, target) == target
    expect(op, legal, f"{x} to {list(target)}", "a shape it broadcasts to")
    return [target]


def _fill(op, shape, value):
    expect_same_dtype(op, value)
    expect_rank(op, shape, 1)
    expect_rank(op, value, 0)
    return [integers(op, shape)]


def _range(op, start, limit, delta):
    expect_same_dtype(op, start, limit, delta)
    expect(op, all(t.shape == () for t in (start, limit, delta)), f"{start}, {limit}, {delta}", "scalars")
    if not all(t.is_constant for t in (start, limit, delta)):
        raise UnknownShape(f"{name_of(op)}: its length depends on operands that are no constants")
    first, last, step = (float(t.data) for t in (start, limit, delta))
    finite = all(map(math.isfinite, (first, last, step)))
    expect(op, finite and step != 0 and (last - first) / step > 0, f"{first} to {last} by {step}", "a few steps")
    return [(min(math.ceil((last - first) / step), LARGEST + 1),)]


def _shape_of(op, x):
    expect_dtype(op, op.outputs[0], "int32", "int64")
    return [(len(x.shape),)]


def _reverse(op, x, axes):
    expect_same_dtype(op, x)
    expect_dtype(op, axes, "int32")
    expect_rank(op, axes, 1)
    positions = [position_of(op, axis, len(x.shape)) for axis in integers(op, axes)]
    expect(op, len({*positions}) == len(positions), f"axes {positions}", "each once")
    return [x.shape]


def _one_hot(op, indices, depth, on, off):
    expect_dtype(op, indices, "int32", "int64")
    expect_same_dtype(op, on, off)
    expect(op, on.size == off.size == 1, f"{on} and {off}", "one value each")
    (count,) = integers(op, depth, 1)
    axis = position_of(op, op.attributes.get("axis", -1), len(indices.shape) + 1)
    return [(*indices.shape[:axis], count, *indices.shape[axis:])]


def _depth_to_space(op, x):
    expect_rank(op, x, 4)
    expect_same_dtype(op, x)
    (block,) = positive(op, "block_size")
    n, h, w, c = x.shape
    expect(op, c % block**2 == 0, f"{x}", f"a multiple of {block**2} channels")
    return [(n, h * block, w * block, c // block**2)]


def _space_to_depth(op, x):
    expect_rank(op, x, 4)
    expect_same_dtype(op, x)
    (block,) = positive(op, "block_size")
    n, h, w, c = x.shape
    expect(op, h % block == w % block == 0, f"{x}", f"height and width in blocks of {block}")
    return [(n, h // block, w // block, c * block**2)]


def _blocks(op: Op, x: Tensor, block: Tensor, amounts: Tensor) -> tuple[list[int], list[tuple[int, int]]]:
    """Block sizes, and what is padded or cropped around the axes between the first and the last."""
    expect_same_dtype(op, x)
    expect_rank(op, x, 3, 4)
    axes = len(x.shape) - 2
    expect(op, block.shape == (axes,) and amounts.shape == (axes, 2), f"{block}, {amounts}", f"{axes} axes")
    sizes, values = integers(op, block), integers(op, amounts)
    expect(op, min(sizes) > 0 and min(values) >= 0, f"blocks {sizes}, paddings {values}", "no negative ones")
    return sizes, list(zip(values[::2], values[1::2]))


def _space_to_batch_nd(op, x, block, paddings):
    sizes, pairs = _blocks(op, x, block, paddings)
    padded = [n + sum(pair) for n, pair in zip(x.shape[1:], pairs)]
    expect(op, all(n % size == 0 for n, size in zip(padded, sizes)), f"{padded} in blocks of {sizes}", "whole blocks")
    return [(x.shape[0] * math.prod(sizes), *(n // size for n, size in zip(padded, sizes)), x.shape[-1])]


def _batch_to_space_nd(op, x, block, crops):
    sizes, pairs = _blocks(op, x, block, crops)
    expect(op, x.shape[0] % math.prod(sizes) == 0, f"{x} in blocks of {sizes}", "whole blocks")
    spread = [n * size - sum(pair) for n, size, pair in zip(x.shape[1:], sizes, pairs)]
    return [(x.shape[0] // math.prod(sizes), *spread, x.shape[-1])]


RULES = {
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "TRANSPOSE": _transpose,
    "PAD": lambda op, x, paddings: _pad(op, x, paddings),
    "PADV2": lambda op, x, paddings, value: _pad(op, x, paddings, value),
    "MIRROR_PAD": _mirror_pad,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "PACK": _pack,
    "UNPACK": _unpack,
    "GATHER": _gather,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "FILL": _fill,
    "RANGE": _range,
    "SHAPE": _shape_of,
    "REVERSE_V2": _reverse,
    "ONE_HOT": _one_hot,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPACE_TO_BATCH_ND": _space_to_batch_nd,
    "BATCH_TO_SPACE_ND": _batch_to_space_nd,
}
