"""Memory that a process needs to run one signature of a .tflite file, measured in a process of its own.

Run as a script, it is that process: it imports the interpreter, reads VmHWM (the most memory that the process ever
held, in Linux's /proc), loads the file, runs the signature a few times, reads VmHWM again and prints both.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_RUNS = 3


def growth(path: str | Path, kernels: str, signature: str | None) -> int:
    """Bytes by which VmHWM grows from before the file is loaded until `signature` has run a few times.

    The file is opened by its path, so LiteRT maps it, and only the pages that it touches count.

    Args:
        kernels: "builtin" or "xnnpack".
        signature: None runs the first subgraph of a file that has no signatures.

    Raises:
        RuntimeError: the process failed; the message holds what it wrote.
    """
    command = [sys.executable, __file__, str(path), kernels, signature or ""]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stderr}")
    before, after = json.loads(result.stdout.splitlines()[-1])
    return after - before


def peak_bytes() -> int:
    """VmHWM of this process."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024


def _measure(path: str, kernels: str, signature: str) -> tuple[int, int]:
    from litert import Session  # the interpreter is imported before the first reading

    before = peak_bytes()
    session = Session(path, kernels)
    inputs = session.random_inputs(signature or None)
    for _ in range(_RUNS):
        session.run(signature or None, **inputs)
    return before, peak_bytes()


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
