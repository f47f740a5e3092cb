"""Photos that appear in a folder, by scp, a phone or another program."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_SUFFIXES |= {".heic", ".heif"}  # cannot be read, but are not to lie there unnoticed
_FINISHED, _REJECTED = ".seen", ".rejected"


class Inbox:
    """A folder; ``cup/1.jpg`` in it shows a cup, and what ``2.jpg`` shows is not said.

    A photo that was dealt with is moved out of the way, into hidden folders beside it, with a number if one of
    that name is there already.

    Raises:
        NotADirectoryError: If it is no folder.
    """

    interval = 1.0  # seconds between two looks

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder. Make it first: mkdir {folder}")
        self._folder = folder
        self._seen_sizes: dict[Path, tuple[int, int]] = {}

    @property
    def rejected(self) -> Path:
        """Where unusable photos lie."""
        return self._folder / _REJECTED

    def settled_photos(self) -> list[tuple[Path, str | None]]:
        """Photos with their class name, oldest first: those that have not changed since the last look.

        A photo that is still being copied is left for the next look.
        """
        marks = {}
        for path in self._photos():
            with contextlib.suppress(FileNotFoundError):  # taken away again meanwhile
                status = path.stat()
                marks[path] = status.st_size, status.st_mtime_ns
        settled = [path for path in marks if marks[path] == self._seen_sizes.get(path)]
        self._seen_sizes = marks
        settled.sort(key=lambda path: (marks[path][1], path))
        return [(path, None if path.parent == self._folder else path.parent.name) for path in settled]

    def is_empty(self) -> bool:
        return not self._photos()

    def finish(self, path: Path) -> None:
        self._move(path, _FINISHED)

    def reject(self, path: Path) -> None:
        self._move(path, _REJECTED)

    def _photos(self) -> list[Path]:
        candidates = [*self._folder.iterdir(), *self._folder.glob("[!.]*/*")]
        return [
            path
            for path in candidates
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]

    def _move(self, path: Path, to: str) -> None:
        target = self._folder / to / path.relative_to(self._folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        free = (target.with_stem(f"{target.stem}-{number}") if number else target for number in itertools.count())
        path.replace(next(name for name in free if not name.exists()))
