"""Damaged .tflite files against everything that reads them: what comes is a ValueError, or a program that LiteRT runs.

    python benchmarks/fuzz.py --files=200000 --seed=7

Prints how many files were refused, accepted and run. Files that make Python raise anything else, take longer than a
second, or kill LiteRT are kept in --out, and the exit status is 1.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from litert_child import LiteRT
from mutations import Mutator
from text_table import table

from tflite_export import flatbuffer

FLAGS = flags.FLAGS
flags.DEFINE_integer("files", 20000, "Damaged files to try.", lower_bound=1)
flags.DEFINE_float("seconds", float("inf"), "Stop after so many seconds.")
flags.DEFINE_integer("seed", 0, "Of the damage.")
flags.DEFINE_integer("run_every", 5, "LiteRT runs one in so many accepted files.", lower_bound=1)
flags.DEFINE_string("out", "out/fuzz", "Where files that break something are kept.")

SLOW = 1.0  # seconds of a core


@dataclasses.dataclass(frozen=True)
class EntryPoint:
    """Something that takes a foreign file.

    Attributes:
        accept: gives the program of a file, or raises ValueError.
        vouches: whether LiteRT must be able to run what it accepts.
    """

    accept: Callable[[bytes], object]
    vouches: bool


ENTRY_POINTS = {
    "read": EntryPoint(flatbuffer.read, vouches=False),
    "checked": EntryPoint(flatbuffer.checked, vouches=True),
}


@dataclasses.dataclass
class Result:
    """How many files ended how, and those that broke something, by what they did."""

    outcomes: collections.Counter
    broken: dict[str, bytes]

    def note(self, outcome: str, content: bytes, broken: bool = False) -> None:
        self.outcomes[outcome] += 1
        if broken:
            self.broken[f"{outcome} {hashlib.sha256(content).hexdigest()[:12]}"] = content


def fuzz(
    entry: EntryPoint, sources: list[bytes], files: int, seconds: float, seed: int, run_every: int, litert: LiteRT
) -> Result:
    """Tries damaged copies of `sources` on `entry`, until `files` or `seconds` are used up."""
    mutate, result = Mutator(sources, seed), Result(collections.Counter(), {})
    end, accepted = time.monotonic() + seconds, 0
    for _ in range(files):
        content = mutate()
        if time.monotonic() > end:
            break
        start = time.process_time()
        try:
            program = entry.accept(content)
        except ValueError:
            outcome = "refused"
        except Exception as error:
            result.note(f"raised {type(error).__name__}", content, broken=True)
            continue
        else:
            outcome = "accepted"
            accepted += 1
        slow = time.process_time() - start > SLOW
        result.note("slow" if slow else outcome, content, broken=slow)
        if outcome == "accepted" and accepted % run_every == 0:
            _use(entry, program, content, result, litert)
    return result


def _use(entry: EntryPoint, program, content: bytes, result: Result, litert: LiteRT) -> None:
    """What has been accepted can be written back, and LiteRT survives it."""
    try:
        flatbuffer.write(program)
    except Exception as error:
        result.note(f"not written back: {type(error).__name__}", content, broken=True)
    if entry.vouches:
        end = litert.run(content)
        result.note(f"LiteRT {end}", content, broken=end not in ("ran", "refused"))


def main(_) -> None:
    from small_files import small_files

    sources, rows, broken = list(small_files().values()), [], {}
    with LiteRT() as litert:
        for name, entry in ENTRY_POINTS.items():
            start = time.monotonic()
            result = fuzz(entry, sources, FLAGS.files, FLAGS.seconds, FLAGS.seed, FLAGS.run_every, litert)
            rows += [(name, outcome, f"{count:,}") for outcome, count in sorted(result.outcomes.items())]
            rows.append((name, "seconds", f"{time.monotonic() - start:.0f}"))
            broken.update({f"{name} {what}": content for what, content in result.broken.items()})
    print(table(("entry", "outcome", "files"), rows, left=2))
    if broken:
        folder = Path(FLAGS.out)
        folder.mkdir(parents=True, exist_ok=True)
        for what, content in broken.items():
            (folder / f"{what}.tflite").write_bytes(content)
        raise SystemExit(f"{len(broken)} files broke something; they are in {folder}")


if __name__ == "__main__":
    app.run(main)
