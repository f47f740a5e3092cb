"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import tempfile

_ABANDONED = 60  # seconds without a write, after which a temporary file is that of a process that was killed


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Writes `content` to `path`. Until all of it is on the disk, whatever was at `path` stays there.

    What a process that was killed in the middle of this left behind is removed by the next one that gets through. Where
    `path` is a link, what it leads to is replaced.

    Raises:
        OSError: the disk is full or not writable, or what stands at `path` is a folder or a device; nothing is left
            behind.
    """
    path = pathlib.Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no regular file"
        raise OSError(errno.EINVAL, f"cannot write a file there: it is {kind}", str(path))
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(path))
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)
    _remove_abandoned(path)


def _remove_abandoned(path: pathlib.Path) -> None:
    try:
        now = path.stat().st_mtime  # by the clock of the file system
    except FileNotFoundError:  # somebody else has moved it already
        return
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # the names that `mkstemp` gives
    for entry in path.parent.iterdir():
        if pattern.fullmatch(entry.name):
            with contextlib.suppress(OSError):  # somebody else has removed it, or it cannot be: no harm to `path`
                if now - entry.stat().st_mtime > _ABANDONED:
                    entry.unlink()


def _mode(path: pathlib.Path) -> int:
    """The permissions of the file that stands there, else those that a new file gets."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def _sync_folder(folder: pathlib.Path) -> None:
    """Makes the new name itself survive a power cut, on systems where a folder can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems know no such thing
            raise
    finally:
        os.close(descriptor)
