"""Single key presses of a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty


class Keys:
    """Reads keys without Return while the ``with`` block lasts. Without a terminal, as under systemd, none comes."""

    def __init__(self):
        self.there = sys.stdin is not None and sys.stdin.isatty()

    def __enter__(self) -> Keys:
        if self.there:
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(self, *_) -> None:
        if self.there:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def poll(self, seconds: float | None) -> str | None:
        """The next key within that time, None if there is none; without a time it waits for one."""
        if not self.there:
            time.sleep(seconds or 0)
            return None
        ready, _, _ = select.select([sys.stdin], [], [], seconds)
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace") if ready else None

    def line(self, prompt: str) -> str:
        """A whole line, with the usual echo and editing."""
        during = termios.tcgetattr(sys.stdin)
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
        try:
            return input(prompt)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, during)
