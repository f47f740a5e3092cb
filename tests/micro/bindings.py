"""The kernels as a shared library, called through ctypes."""

from __future__ import annotations

import ctypes

import numpy as np

from tests.micro import toolchain
from tests.micro.goldens import Call, Optimizer, Out, Requantization, Space, Variable

_POINTER = ctypes.c_void_p


class COptimizer(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int),
        ("nesterov", ctypes.c_bool),
        *((name, ctypes.c_float) for name in "learning_rate momentum beta_1 beta_2 epsilon weight_decay".split()),
        ("gradient_scale", ctypes.c_float),
        ("adam_rate", ctypes.c_float),
    )


class CVariable(ctypes.Structure):
    _fields_ = (("value", _POINTER), ("first", _POINTER), ("second", _POINTER))


class CRequantization(ctypes.Structure):
    _fields_ = (
        ("multiplier", _POINTER),
        ("shift", _POINTER),
        *((name, ctypes.c_int32) for name in ("input_zero", "output_zero", "minimum", "maximum")),
    )


class CQuantization(ctypes.Structure):
    _fields_ = (("scale", ctypes.c_float), ("zero_point", ctypes.c_int32))


def address(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(_POINTER)


def build(folder) -> ctypes.CDLL:
    """The library, compiled with every warning an error."""
    path = folder / "libtinytl.so"
    flags = [*toolchain.WARNINGS, *toolchain.includes(), "-O2", "-shared", "-fPIC"]
    toolchain.run([toolchain.host_compiler(), *flags, *toolchain.sources(), "-lm", "-o", path])
    return ctypes.CDLL(str(path))


class _Arguments:
    """Python arguments as C ones, and the outputs to compare behind the call."""

    def __init__(self, kernels: ctypes.CDLL):
        self.kernels, self.keep, self.outs = kernels, [], []

    def array(self, array: np.ndarray) -> int:
        """The array's address. A guard of 64 bytes on either side keeps an overrun from the heap; runner.c finds it."""
        whole = np.full(array.nbytes + 128, 0xA5, np.uint8)
        whole[64 : 64 + array.nbytes] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.keep.append((whole, array.nbytes))
        return whole.ctypes.data + 64

    def out(self, out: Out | None) -> int | None:
        if out is None:
            return None
        address = self.array(out.start())
        self.outs.append((out, self.keep[-1][0]))
        return address

    def structure(self, value: ctypes.Structure):
        self.keep.append((value, None))
        return ctypes.byref(value)

    def convert(self, value):
        if value is None:
            return None
        if isinstance(value, bool | int | np.integer):
            return ctypes.c_int64(int(value))
        if isinstance(value, float):
            return ctypes.c_float(value)
        if isinstance(value, bytes):
            return _POINTER(self.array(np.frombuffer(value, np.uint8)))
        if isinstance(value, np.ndarray):
            return _POINTER(self.array(value))
        if isinstance(value, Out):
            return _POINTER(self.out(value))
        if isinstance(value, Space):
            return _POINTER(self.array(np.zeros(value.size, np.uint8)))
        if isinstance(value, Optimizer):
            numbers = value.numbers()
            fields = COptimizer(value.kind, value.nesterov, numbers[1], *numbers[3:9])
            assert self.kernels.tinytl_optimizer_begin_step(ctypes.byref(fields), value.step) == 0
            return self.structure(fields)
        if isinstance(value, Variable):
            return self.structure(CVariable(*(self.out(out) for out in value.outs())))
        if isinstance(value, Requantization):
            addresses = [self.array(a.astype(np.int32)) for a in (value.multiplier, value.shift)]
            return self.structure(CRequantization(*addresses, *value.numbers))
        raise TypeError(f"no C argument of {type(value).__name__}")


def call(library: ctypes.CDLL, golden: Call) -> None:
    """Makes the call and compares every output; a failure names index, got and expected."""
    arguments = _Arguments(library)
    status = getattr(library, golden.function)(*(arguments.convert(value) for value in golden.arguments))
    assert status == golden.status, f"{golden.name}: {golden.function} returned {status}, expected {golden.status}"
    for whole, size in arguments.keep:
        if size is not None:
            guards = np.concatenate([whole[:64], whole[64 + size :]])
            assert (guards == 0xA5).all(), f"{golden.name}: {golden.function} wrote outside a buffer"
    for number, (out, whole) in enumerate(arguments.outs):
        got = np.frombuffer(whole[64 : 64 + out.expected.nbytes].tobytes(), out.expected.dtype)
        compare(golden, number, got, out)


def compare(golden: Call, number: int, got: np.ndarray, out: Out) -> None:
    difference = out.difference(got)
    worst = int(np.nanargmax(np.where(np.isnan(difference), np.inf, difference)))
    assert difference[worst] <= out.allowed(), (
        f"{golden.name}: output {number} of {golden.function}, element {np.unravel_index(worst, out.expected.shape)}: "
        f"got {got[worst]}, expected {out.expected.ravel()[worst]} ± {out.allowed():.1e}"
    )
