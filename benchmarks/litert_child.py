"""LiteRT in a process of its own, with limits, so that a file that kills it kills nothing else.

Run as a script, it is that process: it reads files from its input, each behind its length, runs every signature with
both kernel sets, and answers each with one line.
"""

from __future__ import annotations

import resource
import select
import signal
import struct
import subprocess
import sys

_MOST_MEMORY = 6 << 30  # of addresses, which threads and libraries take many of


class LiteRT:
    """Runs files one after another; a process that has died is replaced.

    Args:
        seconds: that a file may take.
    """

    def __init__(self, seconds: float = 20):
        self.seconds, self.process = seconds, None

    def __enter__(self) -> LiteRT:
        return self

    def __exit__(self, *_) -> None:
        self._end()

    def run(self, content: bytes) -> str:
        """ "ran", "refused" where LiteRT raises an error, "crashed (…)" or "hung"."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            self._answer(120)  # imports take long on a busy machine
        try:
            self.process.stdin.write(struct.pack("<I", len(content)) + content)
            self.process.stdin.flush()
            answer = self._answer(self.seconds)
        except BrokenPipeError:
            answer = ""
        if answer == "hung":
            self._end()
        elif not answer:
            code = self.process.wait()
            self.process = None
            answer = f"crashed ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"
        return answer

    def _answer(self, seconds: float) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return self.process.stdout.readline().decode().strip() if ready else "hung"

    def _end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def _serve() -> None:
    from litert import KERNELS, Session

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    print("ready", flush=True)
    while header := sys.stdin.buffer.read(4):
        content = sys.stdin.buffer.read(*struct.unpack("<I", header))
        try:
            for kernels in KERNELS:
                _run(Session(content, kernels))
            print("ran", flush=True)
        except (ValueError, RuntimeError, MemoryError):
            print("refused", flush=True)


def _run(session) -> None:
    """Every signature once; a file without signatures as a whole."""
    names = session.interpreter.get_signature_list()
    for name in names:
        session.run(name, **session.random_inputs(name))
    if not names:
        session.interpreter.allocate_tensors()
        session.interpreter.invoke()


if __name__ == "__main__":
    _serve()
