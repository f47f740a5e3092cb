"""Our custom operators in the interpreter of TFLite Micro's Python wheel, compiled for this machine.

The wheel runs operators of any library that the process has loaded, but ships no headers; `tflm/stand_in` says how its
structures lie in memory. A wheel in which they lie otherwise would crash, so another process tries it first.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from tflite_export import flatbuffer
from tflite_export.graph import Graph, Op, Program, Tensor
from tflite_export.micro import host

REGISTERER = "tinytl_register"  # the function in the library, as the wheel's custom_op_registerers name it
_ADAPTER = host.HOME / "tflm"
_FLAGS = ("-O2", "-fPIC")
_CXX_FLAGS = ("-std=c++17", "-fno-rtti", "-fno-exceptions", "-DTINYTL_STAND_IN_2026")


@functools.cache
def load_operators() -> str:
    """Compiles and loads the operators, once in a process; the name to give to the wheel's interpreter.

    Raises:
        RuntimeError: there is no C++ compiler, or the wheel is laid out otherwise.
    """
    folder = tempfile.TemporaryDirectory(prefix="tinytl-operators-")
    library = pathlib.Path(folder.name) / "libtinytl_tflm.so"
    _compile(library)
    _try(library)
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    return REGISTERER


def try_library(library: str) -> None:
    """Runs a file of one custom operator whose result is known; a wheel that is laid out otherwise crashes here.

    Raises:
        RuntimeError: the result is another.
    """
    from tflite_micro import runtime

    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    names = ("dy", "mask")
    dy, mask = Tensor("dy", (1, 2, 1, 3)), Tensor("mask", (2,), "uint8")
    outputs = {"sums": Tensor("sums", (3,)), "masked": Tensor("masked", dy.shape)}
    op = Op("TINYTL_BIAS_GRADIENT", (dy, mask), tuple(outputs.values()))
    content = flatbuffer.write(Program((Graph("try", dict(zip(names, (dy, mask))), outputs, (op,)),)))
    interpreter = runtime.Interpreter.from_bytes(content, custom_op_registerers=[REGISTERER], arena_size=1 << 14)
    interpreter.set_input(np.arange(1, 7, dtype=np.float32).reshape(dy.shape), 0)
    interpreter.set_input(np.array([0b101, 0b110], np.uint8), 1)
    interpreter.invoke()
    got = interpreter.get_output(0)
    if not np.array_equal(got, [1, 5, 9]):
        raise RuntimeError(f"the sums are {got}, expected [1, 5, 9]")


def _try(library: pathlib.Path) -> None:
    code = f"from tflite_export.micro.tflm_wheel import try_library; try_library({str(library)!r})"
    path = os.pathsep.join([str(host.HOME.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path})
    if done.returncode:
        raise RuntimeError(
            "the installed wheel of TFLite Micro does not run our custom operators: it is not laid out as "
            f"micro/tflm/stand_in says (tflite-micro 0.dev20261023 is). Install that one, or pass verify=False\n"
            f"exit status {done.returncode}: {done.stderr[-2000:]}"
        )


def _compile(library: pathlib.Path) -> None:
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None or host.compiler() is None:
        raise RuntimeError(
            "there is no C++ compiler here to run our custom operators with; install g++, or pass verify=False"
        )
    kernels = library.with_name("kernels.o")
    sources, includes = host.kernel_sources(), [f"-I{host.HOME / 'include'}", f"-I{host.HOME / 'src'}"]
    _run([host.compiler(), "-std=c11", *_FLAGS, *includes, "-r", *sources, "-o", kernels])
    adapter = [*sorted(_ADAPTER.glob("*.cc")), _ADAPTER / "stand_in" / "wheel.cc"]
    paths = [*includes, f"-I{_ADAPTER}", f"-I{_ADAPTER / 'stand_in'}"]
    _run([compiler, *_CXX_FLAGS, *_FLAGS, "-shared", *paths, *adapter, kernels, "-lm", "-o", library])


def _run(command: list) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} refuses our custom operators:\n{done.stderr[-4000:]}")
