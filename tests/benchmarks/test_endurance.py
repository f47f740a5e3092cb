"""A short endurance, and what it calls steady."""

import os
import subprocess
import sys
from pathlib import Path

from endurance import Usage, is_steady

ROOT = Path(__file__).parents[2]


def test_a_thousand_steps_need_no_more_than_two_hundred():
    result = subprocess.run(
        [sys.executable, "benchmarks/endurance.py", "--steps=1000"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert len(result.stdout.splitlines()) == 15


def test_a_leak_is_not_steady():
    first = Usage(200, 60_000_000, 7)
    assert is_steady([first, Usage(10_000, 60_900_000, 7)])
    assert not is_steady([first, Usage(10_000, 61_000_000, 7)])
    assert not is_steady([first, Usage(10_000, 60_000_000, 8)])
