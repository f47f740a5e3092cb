"""Constant arrays in C."""

from __future__ import annotations

import textwrap

import numpy as np

from tflite_export.micro.number import float_literal


def floats(name: str, values: np.ndarray) -> str:
    """float32, to the bit."""
    return _array("float", name, [float_literal(value) for value in np.ravel(values)])


def bytes_(name: str, values: np.ndarray) -> str:
    """int8."""
    return _array("int8_t", name, [str(value) for value in np.ravel(values).tolist()])


def integers(name: str, values: np.ndarray) -> str:
    """int32."""
    return _array("int32_t", name, [str(value) for value in np.ravel(values).tolist()])


def _array(kind: str, name: str, values: list[str]) -> str:
    body = textwrap.fill(", ".join(values), 118, initial_indent="  ", subsequent_indent="  ")
    return f"static const {kind} {name}[{len(values)}] = {{\n{body}\n}};\n"
