"""Memory that a process needs to run one signature of a .tflite file, measured in a process of its own.

Run as a script, it is that process: it imports the interpreter and reads the inputs, takes VmHWM (the most memory that
the process ever held, in Linux's /proc), loads the file, runs the signature a few times, takes VmHWM again and prints
both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from litert import Session

_RUNS = 3


def growth(path: str | Path, kernels: str, signature: str | None) -> int:
    """Bytes by which VmHWM grows from before the file is loaded until `signature` has run a few times.

    The file is opened by its path, so LiteRT maps it, and only the pages that it touches count.

    Args:
        kernels: "builtin" or "xnnpack".
        signature: None runs the only signature of the file.

    Raises:
        RuntimeError: the process failed; the message holds its error.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **Session(str(path), kernels).random_inputs(signature))
        command = [sys.executable, __file__, str(path), kernels, signature or "", str(inputs)]
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


def peak_bytes() -> int:
    """VmHWM of this process."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def _measure(path: str, kernels: str, signature: str, inputs: str) -> tuple[int, int]:
    with np.load(inputs) as data:
        arrays = dict(data)
    before = peak_bytes()
    session = Session(path, kernels)
    for _ in range(_RUNS):
        session.run(signature or None, **arrays)
    return before, peak_bytes()


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
