"""Finished rows of a benchmark in a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from tflite_export.atomic import write_atomically

_HOUSE = Path(__file__).resolve().parent.parent


class KeptRows:
    """JSON values by key in the file `path`, which holds only what the program made that `sources` describes.

    What another program has left there is dropped; rows of other keys stay.
    """

    def __init__(self, path: Path, sources: str):
        self.path, self.sources, self.rows = path, sources, {}
        if path.exists():
            content = json.loads(path.read_text())
            if content["sources"] == sources:
                self.rows = content["rows"]

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def __getitem__(self, key: str):
        return self.rows[key]

    def keep(self, key: str, row) -> None:
        """Adds a row, and writes the file."""
        self.rows[key] = row
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {"sources": self.sources, "rows": self.rows}
        write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def digest_of_program(packages: Iterable[str]) -> str:
    """Of the benchmarks, of both packages that they measure, and of the versions of `packages`."""
    return digest_of((_HOUSE / name for name in ("benchmarks", "tflite_export", "tinytl_keras")), packages)


def digest_of(folders: Iterable[Path], packages: Iterable[str]) -> str:
    """Of all Python files under `folders`, their names included, and of the versions of `packages`; 64 hex digits."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{folder.name}/{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    for package in packages:
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    return digest.hexdigest()
