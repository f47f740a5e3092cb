"""The kernels built for the host or for a Cortex-M, and why a test must skip where a tool is absent."""

from __future__ import annotations

import functools
import pathlib
import shutil
import subprocess
import tempfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MICRO = ROOT / "tflite_export" / "micro"
WARNINGS = ["-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror"]


def sources() -> list[pathlib.Path]:
    return sorted((MICRO / "src").rglob("*.c"))


def includes() -> list[str]:
    return [f"-I{MICRO / 'include'}", f"-I{MICRO / 'src'}"]


def require(tool: str, package: str) -> str:
    """The path of a tool; skips the test where it is not installed."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed: apt-get install {package}, or make micro-test")
    return path


def run(command: list) -> subprocess.CompletedProcess:
    """Runs a command; a failure shows what it wrote."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


@functools.cache
def host_compiler() -> str:
    return require("gcc", "gcc")


def symbols(source: pathlib.Path) -> list[str]:
    """nm's lines for one source file."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = pathlib.Path(folder) / "object.o"
        run([host_compiler(), "-std=c11", *includes(), "-c", source, "-o", compiled])
        return run([require("nm", "binutils"), compiled]).stdout.splitlines()


def exported(source: pathlib.Path) -> list[str]:
    """The functions that a source file defines for others."""
    return [line.split()[-1] for line in symbols(source) if line.split()[-2] == "T"]
