"""What the caller hands in, checked on the host before anything in the file can change."""

from __future__ import annotations

import numpy as np

from tflite_export.runtime.batches import IGNORED


def sample_shape(x: np.ndarray, info: dict) -> np.ndarray:
    """`x` as an array, its shape and dtype checked but no value looked at.

    Raises:
        TypeError: If `x` holds neither integers nor floating point numbers.
        ValueError: If the shape is not [n, *input_shape].
    """
    x = np.asarray(x)
    shape = tuple(info["input_shape"])
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        hint = " Add the batch axis: x[None]." if x.shape == shape else ""
        raise ValueError(f"x must have shape [n, {', '.join(map(str, shape))}]. Received: {list(x.shape)}.{hint}")
    if x.dtype.kind not in "iuf":
        raise TypeError(
            f"x must hold floating point numbers (already scaled) or integers (images, scaled by x * "
            f"{info['input_scale']} + {info['input_offset']}). Received: dtype {x.dtype}"
        )
    return x


def model_input(x: np.ndarray, info: dict, first_row: int = 0) -> np.ndarray:
    """`x` as the float32 array that the graph takes.

    Args:
        x: [n, *input_shape]. Integers (uint8 images) become ``x * input_scale + input_offset``; floating point numbers
            are taken as already scaled.
        info: The file's info.
        first_row: Where in the caller's array the first row stands, for the message.

    Raises:
        TypeError, ValueError: As `sample_shape` does, and if a value is NaN or infinite.
    """
    x = sample_shape(x, info)
    if x.dtype.kind in "iu":
        return x.astype(np.float32) * np.float32(info["input_scale"]) + np.float32(info["input_offset"])
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, np.float32)
    if not np.isfinite(x).all():
        rows = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
        raise ValueError(
            f"x holds NaN or infinity (as float32), first in row {first_row + rows[0]}. Nothing was changed; repair or "
            f"leave out such rows."
        )
    return x


def labels(y: np.ndarray, count: int, info: dict) -> np.ndarray:
    """`y` as int32 [count].

    Args:
        y: Integer class indices, [count]; −1 marks a row that is not to count.
        count: Number of rows of x.
        info: The file's info. With class names in it, a label must belong to a named class.

    Raises:
        TypeError: If `y` does not hold integers.
        ValueError: If the shape or a label is wrong.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "iu":
        hint = " One-hot rows become indices by y.argmax(-1)." if y.ndim == 2 else ""
        raise TypeError(f"y must hold integer class indices. Received: dtype {y.dtype}, shape {list(y.shape)}.{hint}")
    if y.shape != (count,):
        hint = " Flatten it: y[:, 0]." if y.shape == (count, 1) else ""
        raise ValueError(f"y must have shape [{count}], one label for each row of x. Received: {list(y.shape)}.{hint}")
    classes = info["classes"]
    wrong = (y.astype(np.int64) < IGNORED) | (y.astype(np.int64) >= classes)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"Labels must be in [0, {classes}), or {IGNORED} for a row that does not count. "
            f"Received: {y[row]} at index {row}"
        )
    names = info["class_names"]
    if names is not None and (y >= len(names)).any():
        row = int(np.flatnonzero(y >= len(names))[0])
        raise ValueError(
            f"Label {y[row]} at index {row} is a spare output without a name, and would never be predicted. "
            f"Name it first with add_class(name). Named so far: {names}"
        )
    return y.astype(np.int32)
