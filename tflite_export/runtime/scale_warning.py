"""A word to whoever passes the pixels 0 … 255 as floating point numbers, which a file takes as already scaled."""

from __future__ import annotations

import os
import sys
import warnings

import numpy as np

_HERE = os.path.dirname(__file__) + os.sep


def warn_if_unscaled(x: np.ndarray, info: dict) -> bool:
    """Warns, at the caller's own line, if `x` lies far outside what integer pixels would become.

    Far is farther than that range is wide. Where `input_scale` is 1 and `input_offset` 0, the file says nothing about
    pixels, and any number may be right.

    Args:
        x: What the caller passed, without NaN; only floating point numbers can be unscaled.
        info: The file's info.

    Returns:
        Whether it warned.
    """
    scale, offset = info["input_scale"], info["input_offset"]
    if x.dtype.kind != "f" or not x.size or (scale, offset) == (1, 0):
        return False
    low, high = sorted((offset, 255 * scale + offset))
    least, most = float(x.min()), float(x.max())
    if 2 * low - high <= least and most <= 2 * high - low:
        return False
    warnings.warn(
        f"x holds floating point numbers from {least:.4g} to {most:.4g}. Such are taken as already scaled, and this "
        f"file expects them from {low:.4g} to {high:.4g}. Pass pixels as uint8, which it scales itself, or pass "
        f"x * {scale:.6g} + {offset:.6g}. This is said once.",
        stacklevel=level_of_caller(),
    )
    return True


def level_of_caller() -> int:
    """The `stacklevel`, for the function that calls this one, of the first line outside the runtime."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_HERE):
        level, frame = level + 1, frame.f_back
    return level
