"""Operators that move, repeat or cut data. Shapes, axes and paddings come as constant tensors, as in TFLite."""

from __future__ import annotations

import numpy as np


def _integers(array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.ravel(array))


def _reshape(op, x, shape=None):
    return x.reshape(_integers(op.attributes["new_shape"] if shape is None else shape))


def _squeeze(op, x):
    axes = tuple(axis % x.ndim for axis in op.attributes.get("squeeze_dims", ()))
    return np.squeeze(x, axis=axes or None)


def _mirror_pad(op, x, paddings):
    return np.pad(x, paddings, mode={"REFLECT": "reflect", "SYMMETRIC": "symmetric"}[op.attributes["mode"]])


def _slice(op, x, begin, size):
    ends = (b + s if s >= 0 else n for b, s, n in zip(_integers(begin), _integers(size), x.shape))
    return x[tuple(slice(b, e) for b, e in zip(_integers(begin), ends))]


def _strided_slice(op, x, begin, end, strides):
    """Masks have one bit per entry of `begin`: whole side, ellipsis, new axis, or an index that drops its axis."""

    def bit(mask, i):
        return op.attributes.get(mask, 0) >> i & 1

    index = []
    for i, (first, last, step) in enumerate(zip(_integers(begin), _integers(end), _integers(strides))):
        if bit("ellipsis_mask", i):
            index.append(Ellipsis)
        elif bit("new_axis_mask", i):
            index.append(np.newaxis)
        elif bit("shrink_axis_mask", i):
            index.append(first)
        else:
            last = first + last if op.attributes.get("offset", False) else last
            index.append(slice(None if bit("begin_mask", i) else first, None if bit("end_mask", i) else last, step))
    return x[tuple(index)]


def _split(op, axis, x):
    return tuple(np.split(x, op.attributes["num_splits"], axis=int(np.ravel(axis)[0])))


def _split_v(op, x, sizes, axis):
    return tuple(np.split(x, np.cumsum(_integers(sizes))[:-1], axis=int(np.ravel(axis)[0])))


def _unpack(op, x):
    return tuple(np.moveaxis(x, op.attributes.get("axis", 0), 0))


def _depth_to_space(op, x):
    """[N, H, W, b*b*C] -> [N, H*b, W*b, C]; the channels hold (row, column, channel)."""
    block = op.attributes["block_size"]
    n, h, w, c = x.shape
    blocks = x.reshape(n, h, w, block, block, c // block**2).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h * block, w * block, c // block**2)


def _space_to_depth(op, x):
    block = op.attributes["block_size"]
    n, h, w, c = x.shape
    blocks = x.reshape(n, h // block, block, w // block, block, c).transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, h // block, w // block, c * block**2)


def _space_to_batch(op, x, block, paddings):
    """[N, H, W, C] -> [rows*columns*N, H/rows, W/columns, C]; the batch holds (row, column, sample)."""
    rows, columns = _integers(block)
    x = np.pad(x, ((0, 0), *paddings.tolist(), (0, 0)))
    n, h, w, c = x.shape
    blocks = x.reshape(n, h // rows, rows, w // columns, columns, c).transpose(2, 4, 0, 1, 3, 5)
    return blocks.reshape(rows * columns * n, h // rows, w // columns, c)


def _batch_to_space(op, x, block, crops):
    rows, columns = _integers(block)
    n, h, w, c = x.shape
    blocks = x.reshape(rows, columns, n // (rows * columns), h, w, c).transpose(2, 3, 0, 4, 1, 5)
    (top, bottom), (left, right) = crops.tolist()
    image = blocks.reshape(n // (rows * columns), h * rows, w * columns, c)
    return image[:, top : h * rows - bottom, left : w * columns - right]


def _gather(op, x, indices):
    batch = op.attributes.get("batch_dims", 0) % (indices.ndim + 1)
    axis = op.attributes.get("axis", 0) % x.ndim
    if not batch:
        return np.take(x, indices, axis=axis)
    flat, rows = x.reshape(-1, *x.shape[batch:]), indices.reshape(-1, *indices.shape[batch:])
    taken = np.stack([np.take(a, i, axis=axis - batch) for a, i in zip(flat, rows)])
    return taken.reshape(*x.shape[:batch], *taken.shape[1:])


def _one_hot(op, indices, depth, on, off):
    axis = op.attributes.get("axis", -1)
    hot = np.expand_dims(indices, axis if axis >= 0 else indices.ndim)
    categories = np.arange(int(depth)).reshape([-1 if i == axis % hot.ndim else 1 for i in range(hot.ndim)])
    return np.where(hot == categories, on, off)


KERNELS = {
    "RESHAPE": _reshape,
    "EXPAND_DIMS": lambda op, x, axis: np.expand_dims(x, int(np.ravel(axis)[0])),
    "SQUEEZE": _squeeze,
    "TRANSPOSE": lambda op, x, permutation: np.transpose(x, _integers(permutation)),
    "PAD": lambda op, x, paddings: np.pad(x, paddings),
    "PADV2": lambda op, x, paddings, value: np.pad(x, paddings, constant_values=np.ravel(value)[0]),
    "MIRROR_PAD": _mirror_pad,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": lambda op, *xs: np.concatenate(xs, axis=op.attributes.get("axis", 0)),
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "PACK": lambda op, *xs: np.stack(xs, axis=op.attributes.get("axis", 0)),
    "UNPACK": _unpack,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "BROADCAST_TO": lambda op, x, shape: np.broadcast_to(x, _integers(shape)),
    "TILE": lambda op, x, multiples: np.tile(x, _integers(multiples)),
    "FILL": lambda op, shape, value: np.full(_integers(shape), value),
    "RANGE": lambda op, start, limit, delta: np.arange(start, limit, delta),
    "SHAPE": lambda op, x: np.array(x.shape),
    "REVERSE_V2": lambda op, x, axes: np.flip(x, _integers(axes)),
    "GATHER": _gather,
    "ONE_HOT": _one_hot,
}
