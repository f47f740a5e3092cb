"""Gives the pages of a mapped file back to the system, as long as nothing reads them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_MADV_DONTNEED = 4  # Linux's number


def release_pages(path: str | os.PathLike) -> None:
    """Takes the file's pages out of this process's resident memory, wherever they are mapped read-only.

    A page that is read again comes back by itself, from the system's cache or from the file. On systems other than
    Linux nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for start, end in _read_only_mappings(os.stat(path)):
        madvise(start, end - start, _MADV_DONTNEED)  # advice: where it is not taken, the pages stay


def _read_only_mappings(file: os.stat_result) -> list[tuple[int, int]]:
    """Address ranges of this process that are mapped from `file` and cannot be written to."""
    device, found = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}", []
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _, of_device, inode, *_ = line.split()
        if (of_device, int(inode)) == (device, file.st_ino) and "w" not in permissions:
            start, _, end = addresses.partition("-")
            found.append((int(start, 16), int(end, 16)))
    return found
