"""A short power_cut, and that its replay finds a save that is not safe."""

import os
import subprocess
import sys
from pathlib import Path

import file_system_replay
import numpy as np
import power_cut
import pytest

from tflite_export import atomic
from tflite_export.runtime import state as state_module
from tflite_export.runtime.state import State

ROOT = Path(__file__).parents[2]
STATE = State({"head/bias": np.arange(40, dtype=np.float32), "step": np.ones(1, np.int32)}, "c0ffee", 7)


def test_fifteen_kills_lose_nothing():
    """In a process of its own, which forks before it has threads."""
    result = subprocess.run(
        [sys.executable, "benchmarks/power_cut.py", "--kills=15"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert [row[:1] for row in rows] == [["killed"], ["resumed"], ["cut"]]
    assert rows[0][3:6] == ["15", "0", "0"] and "equal to the bit" in result.stdout


@pytest.mark.parametrize("keep", [1, 2, 4])
def test_a_save_survives_a_cut_at_every_boundary(keep):
    outcome = power_cut.cut(STATE, keep)
    assert outcome.good and outcome.cuts >= 20


def in_place(path, content):
    with atomic.os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(content)
        file.flush()
        atomic.os.fsync(file.fileno())


def test_the_replay_finds_a_write_in_place(monkeypatch):
    monkeypatch.setattr(state_module, "write_atomically", in_place)
    assert power_cut.cut(STATE, 1).lost > 0


@pytest.mark.parametrize("forgotten", ["sync", "sync folder"])
def test_the_replay_finds_a_missing_sync(monkeypatch, forgotten):
    original = file_system_replay.Recorder.fsync

    def forget(self, descriptor):
        original(self, descriptor)
        if self.calls[-1][0] == forgotten:
            self.calls.pop()

    monkeypatch.setattr(file_system_replay.Recorder, "fsync", forget)
    assert power_cut.cut(STATE, 1).lost > 0


def test_the_replay_finds_a_moment_without_a_state(monkeypatch):
    """Renaming the newest aside, instead of copying it."""

    def rename_aside(path, keep):
        if path.exists():
            os.replace(path, state_module.former_path(path, 1))

    monkeypatch.setattr(state_module, "_keep_former", rename_aside)
    assert power_cut.cut(STATE, 2).lost > 0


def test_a_disk_after_a_cut_by_hand():
    calls = [("write", "t", b"abcd"), ("sync", "t"), ("rename", "t", "s"), ("sync folder",)]
    disks = [files for files, _ in file_system_replay.disks_after({"s": b"old"}, calls)]
    assert {"s": b"old"} in disks and {"s": b"old", "t": b"a"} in disks and {"s": b"old", "t": b"a\0\0\0"} in disks
    assert {"s": b"abcd"} in disks
    assert {"s": b"a"} not in disks
    last = [files for files, complete in file_system_replay.disks_after({"s": b"old"}, calls) if complete]
    assert last == [{"s": b"abcd"}]
