"""Reading a file that somebody has named."""

from __future__ import annotations

import os
from pathlib import Path


def read_file(path: str | os.PathLike, expected: str, advice: str) -> bytes:
    """The content of the file at `path`.

    Args:
        path: of the file.
        expected: what the file should be, such as "a .tflite file that trains".
        advice: a sentence on where such files come from.

    Raises:
        FileNotFoundError: there is none; the message says all of this.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path}; expected {expected}. {advice}") from None
