"""Files that appear whole or not at all; benchmarks/power_cut.py cuts their writing at every system call."""

import errno
import os
import pathlib

import pytest

from tflite_export import atomic


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "state").write_bytes(b"old")
    (tmp_path / "state").symlink_to("disk/state")
    atomic.write_atomically(tmp_path / "state", b"new")
    assert (tmp_path / "state").is_symlink() and (disk / "state").read_bytes() == b"new"
    assert [path.name for path in disk.iterdir()] == ["state"]


@pytest.mark.parametrize(("number", "is_an_error"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_file_system_that_cannot_flush_a_folder_is_no_failure_but_an_error_of_the_disk_is(
    tmp_path, monkeypatch, number, is_an_error
):
    original = os.fsync

    def fsync(descriptor):
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(number, os.strerror(number))
        original(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    if is_an_error:
        with pytest.raises(OSError, match="Input/output error"):
            atomic.write_atomically(tmp_path / "state", b"new")
    else:
        atomic.write_atomically(tmp_path / "state", b"new")
    assert (tmp_path / "state").read_bytes() == b"new"


def test_permissions_stay(tmp_path):
    path = tmp_path / "state"
    atomic.write_atomically(path, b"old")
    path.chmod(0o640)
    atomic.write_atomically(path, b"new")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("make", [pathlib.Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_only_a_regular_file_is_replaced(make, tmp_path):
    """Renaming over a device would take it from the whole system."""
    make(tmp_path / "x")
    before = (tmp_path / "x").stat().st_mode
    with pytest.raises(OSError, match="cannot write a file there"):
        atomic.write_atomically(tmp_path / "x", b"content")
    assert (tmp_path / "x").stat().st_mode == before
    assert os.listdir(tmp_path) == ["x"]
