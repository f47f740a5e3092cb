"""Calls of the C kernels with what they must leave behind: run here by ctypes, or written to a file for runner.c.

File, little-endian, every record a multiple of 4 bytes: magic ``TTLG``, number of calls; then per call: function
number (its case in functions.inc), expected status, number of arguments; per argument: kind, count (elements; bytes for
RAW), and its data. Data of an argument: INT int32; FLOAT float32; RAW bytes; OUT element type (FLOAT32, BYTE, INT32 or
RESULT: one float32, then int32), tolerance float32, initial contents, expected contents; SPACE nothing.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import struct

import numpy as np

_TABLE = pathlib.Path(__file__).with_name("functions.inc").read_text()
FUNCTIONS = tuple(re.findall(r"return (\w+)\(", _TABLE))
NULL, INT, FLOAT, RAW, OUT, SPACE, OPTIMIZER, VARIABLE, REQUANTIZATION = range(9)
FLOAT32, BYTE, INT32, RESULT = range(4)
GARBAGE = -77.0  # what outputs hold before a call


@dataclasses.dataclass(frozen=True)
class Out:
    """An output: what it holds before the call, what it must hold behind it, and the largest difference allowed."""

    expected: np.ndarray
    initial: np.ndarray | None = None
    tolerance: float | None = None
    is_result: bool = False  # a tinytl_loss_result as int32: the first element's bits are a float

    def element(self) -> int:
        if self.is_result:
            return RESULT
        return {"f": FLOAT32, "i": INT32, "u": BYTE}[self.expected.dtype.kind] if self.expected.itemsize > 1 else BYTE

    def difference(self, got: np.ndarray) -> np.ndarray:
        """Of every element. Those of a result but the first count a million times."""
        expected = self.expected.ravel()
        if self.is_result:
            loss = np.abs(got[:1].view(np.float32) - expected[:1].view(np.float32))
            return np.concatenate([loss, 1e6 * np.abs(got[1:] - expected[1:])])
        return np.abs(got.astype(np.float64) - expected.astype(np.float64))

    def start(self) -> np.ndarray:
        if self.initial is not None:
            return np.ascontiguousarray(self.initial, self.expected.dtype)
        return np.full_like(self.expected, GARBAGE if self.expected.dtype.kind == "f" else 77)

    def allowed(self) -> float:
        if self.expected.dtype != np.float32:
            return self.tolerance or 0.0
        return self.tolerance or 1e-5 * max(1.0, float(np.abs(self.expected).max()))


@dataclasses.dataclass(frozen=True)
class Space:
    """A workspace of so many bytes."""

    size: int


@dataclasses.dataclass(frozen=True)
class Optimizer:
    kind: int
    learning_rate: float
    nesterov: bool = False
    momentum: float = 0.0
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0
    gradient_scale: float = 1.0
    step: int = 1

    def numbers(self) -> np.ndarray:
        return np.array(dataclasses.astuple(self), np.float32)


@dataclasses.dataclass(frozen=True)
class Variable:
    """A tinytl_variable: value, first and second, each an Out or None."""

    value: Out
    first: Out | None = None
    second: Out | None = None

    def outs(self):
        return self.value, self.first, self.second


@dataclasses.dataclass(frozen=True)
class Requantization:
    multiplier: np.ndarray
    shift: np.ndarray
    numbers: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Call:
    """One call. Arguments: None, int, float, bool, bytes (a struct), an array (read only) or one of the above."""

    name: str
    function: str
    arguments: tuple
    status: int = 0

    def __str__(self):
        return self.name


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _record(kind: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<ii", kind, count) + _padded(data)


def _out(out: Out | None) -> bytes:
    if out is None:
        return _record(NULL, 0)
    head = struct.pack("<if", out.element(), out.allowed())
    return _record(OUT, out.expected.size, head + _padded(out.start().tobytes()) + out.expected.tobytes())


def _argument(value) -> bytes:
    if value is None:
        return _record(NULL, 0)
    if isinstance(value, bool | int | np.integer):
        return _record(INT, 1, struct.pack("<i", int(value)))
    if isinstance(value, float):
        return _record(FLOAT, 1, struct.pack("<f", value))
    if isinstance(value, bytes):
        return _record(RAW, len(value), value)
    if isinstance(value, np.ndarray):
        return _record(RAW, value.nbytes, np.ascontiguousarray(value).tobytes())
    if isinstance(value, Out):
        return _out(value)
    if isinstance(value, Space):
        return _record(SPACE, value.size)
    if isinstance(value, Optimizer):
        return _record(OPTIMIZER, value.numbers().size, value.numbers().tobytes())
    if isinstance(value, Variable):
        return _record(VARIABLE, 3) + b"".join(_out(out) for out in value.outs())
    if isinstance(value, Requantization):
        numbers = np.array(value.numbers, np.int32)
        arrays = value.multiplier.astype(np.int32), value.shift.astype(np.int32)
        return _record(REQUANTIZATION, value.multiplier.size, numbers.tobytes() + b"".join(a.tobytes() for a in arrays))
    raise TypeError(f"no golden argument of {type(value).__name__}")


def write(calls: list[Call], path: pathlib.Path) -> None:
    """Writes calls as runner.c reads them."""
    parts = [b"TTLG", struct.pack("<i", len(calls))]
    for call in calls:
        parts.append(struct.pack("<iii", FUNCTIONS.index(call.function), call.status, len(call.arguments)))
        parts.extend(_argument(value) for value in call.arguments)
    path.write_bytes(b"".join(parts))
