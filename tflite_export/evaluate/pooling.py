"""Pools and image resizing, x [N, H, W, C].

Source of the resize conventions: TFLite's reference/resize_bilinear.h and resize_nearest_neighbor.h.
"""

from __future__ import annotations

import numpy as np

from tflite_export.evaluate.convolution import Window, window


def pool_window(op, size) -> Window:
    return window(op, size, (op.attributes["filter_height"], op.attributes["filter_width"]))


def pool_counts(win: Window, channels: int) -> np.ndarray:
    """How many pixels of the image, padding left out, each window holds: [1, out h, out w, channels]."""
    ones = win.pad_image(np.ones((1, *win.size, channels)))
    return sum(ones[:, rows, columns] for _, _, (rows, columns) in win.taps())


def _average_pool_2d(op, x):
    win = pool_window(op, x.shape[1:3])
    padded = win.pad_image(x)
    return sum(padded[:, rows, columns] for _, _, (rows, columns) in win.taps()) / pool_counts(win, x.shape[3])


def _max_pool_2d(op, x):
    win = pool_window(op, x.shape[1:3])
    padded = win.pad_image(x, -np.inf)
    return np.max([padded[:, rows, columns] for _, _, (rows, columns) in win.taps()], axis=0)


def _resize_nearest_neighbor(op, x, size):
    """Positions in float32, as the kernel has them: where they fall between two pixels decides which is taken."""
    for axis, out in zip((1, 2), (int(i) for i in size)):
        extent = x.shape[axis]
        align = op.attributes.get("align_corners", False)
        scale = (
            np.float32(extent - 1) / np.float32(out - 1) if align and out > 1 else np.float32(extent) / np.float32(out)
        )
        offset = np.float32(0.5 if op.attributes.get("half_pixel_centers", False) else 0)
        position = (np.arange(out, dtype=np.float32) + offset) * scale
        index = np.floor(position + 0.5 if align else position).astype(int)
        x = np.take(x, np.clip(index, 0, extent - 1), axis=axis)
    return x


def _resize_bilinear(op, x, size):
    for axis, out in zip((1, 2), (int(i) for i in size)):
        extent = x.shape[axis]
        align = op.attributes.get("align_corners", False)
        scale = (extent - 1) / (out - 1) if align and out > 1 else extent / out
        half = 0.5 if op.attributes.get("half_pixel_centers", False) else 0
        position = np.clip((np.arange(out) + half) * scale - half, 0, extent - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, extent - 1)
        weight = (position - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)]).astype(x.dtype)
        x = np.take(x, low, axis=axis) * (1 - weight) + np.take(x, high, axis=axis) * weight
    return x


KERNELS = {
    "AVERAGE_POOL_2D": _average_pool_2d,
    "MAX_POOL_2D": _max_pool_2d,
    "RESIZE_NEAREST_NEIGHBOR": _resize_nearest_neighbor,
    "RESIZE_BILINEAR": _resize_bilinear,
}
