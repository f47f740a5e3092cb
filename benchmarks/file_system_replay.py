"""What may be on a disk after the power has failed between, or within, the system calls of a module.

The model is a harsh one. Of a file that was written and not synced, any part may be there, or zeros in place of what
is missing; of renames and new names in a folder that was not synced, any subset may have happened.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

_PARTS = (0.0, 0.3, 0.999, 1.0)  # of an unsynced file that the disk may hold


class Recorder:
    """Puts itself in the place of `os` in `module`, which works in `folder`, and notes in `calls` what it does.

    Calls are tuples: ("write", name, bytes), ("sync", name), ("rename", name, new name), ("remove", name),
    ("sync folder",).
    """

    def __init__(self, module, folder: Path):
        self.calls: list[tuple] = []
        self._module, self._folder, self._names = module, folder, {}

    def __enter__(self) -> Recorder:
        self._originals = self._module.os, os.replace
        self._module.os = self
        os.replace = self.replace  # for callers outside of the module, too
        return self

    def __exit__(self, *_) -> None:
        self._module.os, os.replace = self._originals

    def __getattr__(self, name):
        return getattr(os, name)

    def snapshot(self) -> dict[str, bytes]:
        """The files of the folder by name."""
        return {file.name: file.read_bytes() for file in self._folder.iterdir()}

    def fdopen(self, descriptor, mode):
        self._names[descriptor] = Path(os.readlink(f"/proc/self/fd/{descriptor}")).name
        return _File(os.fdopen(descriptor, mode), self._names[descriptor], self.calls)

    def open(self, path, flags):
        descriptor = os.open(path, flags)
        self._names[descriptor] = None  # the folder
        return descriptor

    def fsync(self, descriptor):
        os.fsync(descriptor)
        name = self._names[descriptor]
        self.calls.append(("sync folder",) if name is None else ("sync", name))

    def replace(self, source, destination):
        self._originals[1](source, destination)
        self.calls.append(("rename", Path(source).name, Path(destination).name))

    def unlink(self, path):
        os.unlink(path)
        self.calls.append(("remove", Path(path).name))


class _File:
    """A file whose writes are noted."""

    def __init__(self, file, name: str, calls: list[tuple]):
        self._file, self._name, self._calls = file, name, calls

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return self._file.__exit__(*error)

    def __getattr__(self, name):
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        self._calls.append(("write", self._name, bytes(content)))
        return self._file.write(content)


def disks_after(before: dict[str, bytes], calls: list[tuple]) -> Iterator[tuple[dict[str, bytes], bool]]:
    """Every disk that a cut during `calls` may leave, and whether all calls were done.

    Args:
        before: The files by name, all of them synced.
    """
    for count in range(len(calls) + 1):
        for files in _disks(before, calls[:count]):
            yield files, count == len(calls)


def _disks(before: dict[str, bytes], done: list[tuple]) -> Iterator[dict[str, bytes]]:
    folder_syncs = [i for i, call in enumerate(done) if call[0] == "sync folder"]
    certain = folder_syncs[-1] + 1 if folder_syncs else 0
    renames = [i for i, call in enumerate(done) if i >= certain and call[0] in ("rename", "remove")]
    synced = {call[1]: i for i, call in enumerate(done) if call[0] == "sync"}
    unsynced = {call[1] for i, call in enumerate(done) if call[0] == "write" and synced.get(call[1], -1) < i}
    for happened in itertools.chain.from_iterable(
        itertools.combinations(renames, count) for count in range(len(renames) + 1)
    ):
        for part, zeros in itertools.product(_PARTS if unsynced else (1.0,), (False, True) if unsynced else (False,)):
            yield _replayed(before, done, certain, set(happened), unsynced, part, zeros)


def _replayed(before, done, certain, happened, unsynced, part, zeros) -> dict[str, bytes]:
    files = dict(before)
    for index, (kind, *arguments) in enumerate(done):
        if kind == "write":
            name, content = arguments
            if name in unsynced:
                kept = int(part * len(content))
                content = content[:kept] + (bytes(len(content) - kept) if zeros else b"")
            files[name] = files.get(name, b"") + content
        elif kind == "rename" and (index < certain or index in happened) and arguments[0] in files:
            files[arguments[1]] = files.pop(arguments[0])
        elif kind == "remove" and (index < certain or index in happened):
            files.pop(arguments[0], None)
    return files
