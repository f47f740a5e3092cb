"""Memory that a process needs to train a file with `OnDeviceModel`, measured in a process of its own.

Run as a script, it is that process: it imports the runtime and draws a batch, takes VmHWM, opens the file, takes steps,
takes VmHWM again, and prints what became of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from fresh_process import last_error
from process_memory import peak_bytes

from tflite_export.runtime import OnDeviceModel

_STEPS = 3


def memory_of(path: Path, shape: tuple[int, ...]) -> dict[str, int]:
    """Bytes: "growth" of VmHWM, and of what the process holds at the end "anonymous" memory, "file" pages of the model
    and those of "libraries". A batch has the `shape`.

    Raises:
        RuntimeError: the process failed; the message holds its error.
    """
    result = subprocess.run([sys.executable, __file__, str(path), json.dumps(shape)], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{path}: {last_error(result.stderr)}")
    return json.loads(result.stdout.splitlines()[-1])


def _status() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {line[0][:-1]: 1024 * int(line[1]) for line in lines if line[-1] == "kB"}


def _resident(path: str) -> int:
    """Bytes of a file that are in this process's memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            inside = line.endswith(f" {path}")
        elif inside and words[0] == "Rss:":
            total += 1024 * int(words[1])
    return total


def _measure(path: str, shape: str) -> dict[str, int]:
    x = np.random.default_rng(0).standard_normal(json.loads(shape), np.float32)  # without float64 in between
    y = np.zeros(len(x), np.int32)
    peak, before = peak_bytes(), _status()
    model = OnDeviceModel(path, num_threads=1)
    for _ in range(_STEPS):
        model.train_step(x, y, 0.01)
    growth, after, pages = peak_bytes() - peak, _status(), _resident(path)
    return {
        "growth": growth,
        "anonymous": after["RssAnon"] - before["RssAnon"],
        "file": pages,
        "libraries": after["RssFile"] - before["RssFile"] - pages,
    }


if __name__ == "__main__":
    print(json.dumps(_measure(*sys.argv[1:])))
