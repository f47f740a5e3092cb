"""Pages of a mapped file: let go, and back when they are read; with both kernel sets a step learns the same."""

import mmap
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from tflite_export.runtime.file_pages import release_pages

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def resident(path):
    """Bytes of the file that are in this process's memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
            inside = line.endswith(f" {path}")
        elif inside and line.startswith("Rss:"):
            total += 1024 * int(line.split()[1])
    return total


@linux
def test_pages_go_and_come_back(tmp_path):
    path, content = tmp_path / "a file", os.urandom(1 << 20)
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == content
        assert resident(path) == 1 << 20
        assert release_pages(path) == 1 << 20
        assert resident(path) == 0
        assert mapped[:] == content


@linux
def test_a_writable_mapping_stays(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as mapped:
        mapped[0] = 7
        assert release_pages(path) == 0
        assert mapped[0] == 7


def test_nothing_is_mapped(tmp_path):
    np.save(tmp_path / "file.npy", np.zeros(3))
    assert release_pages(tmp_path / "file.npy") == 0
