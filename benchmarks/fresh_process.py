"""Memory that a process needs to run signatures of a .tflite file, measured in a process of its own.

Run as a script, it is that process: it imports the interpreter and reads the inputs, takes VmHWM (the most memory that
the process ever held, in Linux's /proc), loads the file, runs the signatures a few times, takes VmHWM again and prints
both. A file that trains is loaded as `OnDeviceModel` does it: once it is initialised, its pages go back to the system.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from litert import Session
from process_memory import peak_bytes

from tflite_export.runtime.mapped_pages import release_pages

_ROUNDS = 3
_STOCK = ""  # stands for the only signature of the stock converter's file


def growth(path: str | Path, kernels: str, signatures: Mapping[str, int] | None = None) -> int:
    """Bytes by which VmHWM grows from before the file is loaded until `signatures` have run a few times.

    The file is opened by its path, so LiteRT maps it, and only the pages that it touches count.

    Args:
        kernels: "builtin" or "xnnpack".
        signatures: what runs, in order, and how often each in a round. None: the file's only signature, once.

    Raises:
        RuntimeError: the process failed; the message holds its error.
    """
    counts = dict(signatures or {_STOCK: 1})
    session = Session(str(path), kernels)
    with tempfile.TemporaryDirectory() as folder:
        for position, signature in enumerate(counts):
            np.savez(Path(folder) / f"{position}.npz", **session.random_inputs(signature or None))
        return growth_of([sys.executable, __file__, str(path), kernels, json.dumps(counts), folder])


def growth_of(command: list[str]) -> int:
    """By how much the two numbers differ that `command` prints last: VmHWM before and after.

    Raises:
        RuntimeError: it failed.
    """
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}: {last_error(result.stderr)}")
    before, after = json.loads(result.stdout.splitlines()[-1])
    return after - before


def last_error(text: str) -> str:
    """The exception at the end of a traceback, whose message may have several lines."""
    lines = text.strip().splitlines()
    indented = [i for i, line in enumerate(lines) if line.startswith(" ")]
    return " ".join(lines[indented[-1] + 1 if indented else 0 :])


def _measure(path: str, kernels: str, signatures: str, folder: str) -> tuple[int, int]:
    counts, inputs = json.loads(signatures), []
    for position in range(len(counts)):
        with np.load(Path(folder) / f"{position}.npz") as data:
            inputs.append(dict(data))
    before = peak_bytes()
    session = Session(path, kernels)
    if "info" in session.interpreter.get_signature_list():
        session.run("info", request=np.zeros(1, np.float32))
        release_pages(path)
    for _ in range(_ROUNDS):
        for (signature, count), arrays in zip(counts.items(), inputs):
            for _ in range(count):
                session.run(signature or None, **arrays)
    return before, peak_bytes()


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
