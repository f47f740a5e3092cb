"""Gives back the memory that a mapped file takes, where its pages are not needed any more."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_MADV_DONTNEED = 4  # of Linux's madvise(2)


def release_pages(path: str | os.PathLike) -> int:
    """Takes a mapped file's pages out of this process; what is read again comes back from the page cache.

    The initial values of variables are read once, and kernels that XNNPACK has packed never again, but their pages
    would count as this process's memory until the system is short of it.

    Args:
        path: a file that is mapped read-only. Nothing that the process wrote can be lost, for it cannot write there.

    Returns:
        How many bytes were mapped and let go; 0 where the system is not Linux.
    """
    if not sys.platform.startswith("linux") or not _MAPS.exists():
        return 0
    madvise, name, released = ctypes.CDLL(None, use_errno=True).madvise, os.fspath(Path(path).resolve()), 0
    for line in _MAPS.read_text().splitlines():
        addresses, permissions, _, _, _, *file = line.split(maxsplit=5)
        if file != [name] or "w" in permissions:
            continue
        begin, end = (int(address, 16) for address in addresses.split("-"))
        if madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED) == 0:
            released += end - begin
    return released
