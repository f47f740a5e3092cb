"""What the caller hands in, checked on the host before anything in the file can change."""

from __future__ import annotations

import numpy as np


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
            f"x holds NaN or infinity (as float32), first in row {first_row + rows[0]}. Repair or leave out such rows."
        )
    return x


def whole_number(value, name: str, least: int) -> int:
    """`value` as an int.

    Raises:
        TypeError: If it is no integer; True, 2.0 and "2" are none.
        ValueError: If it is below `least`.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer. Received: {name}={value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}. Received: {name}={value}")
    return int(value)
