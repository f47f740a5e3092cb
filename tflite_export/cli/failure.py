"""What went wrong, in one line that says what to do."""

from __future__ import annotations

import errno

_WHAT_TO_DO = {
    errno.ENOSPC: "Free some space, or name a file on another disk.",
    errno.EDQUOT: "Free some space, or name a file on another disk.",
    errno.EFBIG: "Files may not become that large here: raise the limit, or name a file on another disk.",
    errno.EROFS: "The disk is read-only: name a file on another one.",
    errno.EACCES: "You may not write or read there: name another file, or change its permissions.",
    errno.EPERM: "You may not write or read there: name another file, or change its permissions.",
}


class Failure(Exception):
    """An error of the command line itself; its message is for the user."""


def in_one_line(error: BaseException) -> str:
    """The message of `error` without line breaks. Of an error of the system: the reason, the file, what to do."""
    if isinstance(error, OSError) and error.errno is not None:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}. {_WHAT_TO_DO.get(error.errno, '')}".rstrip()
    if isinstance(error, MemoryError):
        return "There is not enough memory. Use fewer images, or a file with smaller ones."
    lines = [" ".join(line.split()) for line in str(error).splitlines()]
    text = "".join(line + (" " if line.endswith((".", ":", ",")) else "; ") for line in lines if line)
    return text.removesuffix("; ").strip() or type(error).__name__
