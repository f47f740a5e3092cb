"""Numbers as C writes them."""

from __future__ import annotations

import numpy as np


def float_literal(value: float) -> str:
    """The float32 nearest to `value`, exactly: nine digits tell any two apart."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if any(mark in text for mark in ".en") else f"{text}.0f"
