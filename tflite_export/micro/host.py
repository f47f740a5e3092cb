"""A generated program compiled for this machine, called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np

from tflite_export.micro.state import read_manifest

HOME = pathlib.Path(__file__).parent
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off")


def compiler() -> str | None:
    """The path of a C compiler for this machine, if there is one: $CC, gcc, cc or clang."""
    names = [os.environ.get("CC"), "gcc", "cc", "clang"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def kernel_sources() -> list[pathlib.Path]:
    """Every C file of the kernels."""
    return sorted((HOME / "src").rglob("*.c"))


class HostProgram:
    """The functions of ``<name>.c`` in `folder`.

    Args:
        folder: what `generate` wrote.
        name: of the program.
        flags: for the compiler.
        reset: whether to begin with the values that it was generated with.

    Raises:
        RuntimeError: there is no compiler, or it refuses the program; the message is its own.
    """

    def __init__(self, folder: str | os.PathLike, name: str, flags: Sequence[str] = FLAGS, reset: bool = True):
        self.folder, self.name = pathlib.Path(folder), name
        self.manifest = read_manifest(self.folder / f"{name}.json")
        self.input = self.manifest["input"]
        self.sparse = self.manifest["labels"] == "int32"
        with tempfile.TemporaryDirectory() as temporary:
            library = pathlib.Path(temporary) / f"lib{name}.so"
            _compile(self.folder, name, library, flags)
            self._library = ctypes.CDLL(str(library))
        if reset:
            self.reset()

    def reset(self) -> None:
        self._library[f"{self.name}_reset"]()

    def train_step(self, x: np.ndarray, y, learning_rate: float) -> tuple[float, int]:
        """(loss, correct) of one step."""
        loss, correct = ctypes.c_float(), ctypes.c_int32()
        rate = ctypes.c_float(learning_rate)
        label = ctypes.c_int32(int(np.ravel(y)[0])) if self.sparse else _pointer(np.ascontiguousarray(y, np.float32))
        step = self._library[f"{self.name}_train_step"]
        self._check(step(_pointer(self._image(x)), label, rate, ctypes.byref(loss), ctypes.byref(correct)))
        return loss.value, correct.value

    def infer(self, x: np.ndarray) -> np.ndarray:
        """The logits, float32 [outputs]."""
        logits = np.zeros(self.manifest["outputs"], np.float32)
        self._check(self._library[f"{self.name}_infer"](_pointer(self._image(x)), _pointer(logits)))
        return logits

    def infer_in_arena(self, x: np.ndarray) -> np.ndarray:
        """The logits of an x that lies where ``_input`` says."""
        place = self._library[f"{self.name}_input"]
        place.restype = ctypes.c_void_p
        x = self._image(x)
        ctypes.memmove(place(), x.ctypes.data, x.nbytes)
        logits = np.zeros(self.manifest["outputs"], np.float32)
        self._check(self._library[f"{self.name}_infer"](ctypes.c_void_p(place()), _pointer(logits)))
        return logits

    def save(self) -> bytes:
        buffer = np.zeros(self.manifest["saved_bytes"], np.uint8)
        self._check(self._library[f"{self.name}_save"](_pointer(buffer)))
        return buffer.tobytes()

    def restore(self, saved: bytes) -> int:
        """The status."""
        return self._library[f"{self.name}_restore"](_pointer(np.frombuffer(saved, np.uint8)))

    def _image(self, x: np.ndarray) -> np.ndarray:
        x = np.ascontiguousarray(x, self.input["dtype"])
        if x.size != int(np.prod(self.input["shape"])):
            raise ValueError(f"{self.name} takes x {self.input['shape']}, got {list(x.shape)}")
        return x

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(f"{self.name} returns status {status} (tinytl/types.h, tinytl/program.h)")


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)  # which keeps the array alive


def _compile(folder: pathlib.Path, name: str, library: pathlib.Path, flags: Sequence[str]) -> None:
    command = compiler()
    if command is None:
        raise RuntimeError("there is no C compiler here; install gcc, or pass verify=False")
    kernels = _kernels(command, tuple(flags))
    files = [folder / f"{name}.c", *sorted(pathlib.Path(kernels.name).glob("*.o"))]
    _run([command, *flags, "-shared", "-fPIC", *_includes(), f"-I{folder}", *files, "-lm", "-o", library])


@functools.cache
def _kernels(command: str, flags: tuple[str, ...]) -> tempfile.TemporaryDirectory:
    """A folder with the kernels' object files, which lives as long as this process."""
    folder = tempfile.TemporaryDirectory(prefix="tinytl-kernels-")
    for i, source in enumerate(kernel_sources()):
        _run([command, *flags, "-fPIC", *_includes(), "-c", source, "-o", pathlib.Path(folder.name) / f"{i}.o"])
    return folder


def _includes() -> list[str]:
    return [f"-I{HOME / 'include'}", f"-I{HOME / 'src'}"]


def _run(command) -> None:
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{command[0]} refuses the program:\n{result.stderr[-4000:]}")
