"""Damaged .tflite files against everything that reads them: what comes is a ValueError, or a program that LiteRT runs.

    python benchmarks/fuzz.py --files=200000 --seed=7

Prints how many files were refused, accepted and run. Files that make Python raise anything else, take too long, or
kill LiteRT are kept in --out, and the exit status is 1. Of what make_trainable accepts, LiteRT runs what it writes.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from absl import app, flags
from litert_child import LiteRT
from mutations import Mutator
from text_table import table

import tflite_export
from tflite_export import flatbuffer
from tflite_export.graph import Program

FLAGS = flags.FLAGS
flags.DEFINE_integer("files", 20000, "Damaged files to try.", lower_bound=1)
flags.DEFINE_float("seconds", float("inf"), "Stop after so many seconds.")
flags.DEFINE_integer("seed", 0, "Of the damage.")
flags.DEFINE_integer("run_every", 5, "LiteRT runs one in so many accepted files.", lower_bound=1)
flags.DEFINE_string("out", "out/fuzz", "Where files that break something are kept.")


@dataclasses.dataclass(frozen=True)
class EntryPoint:
    """Something that takes a foreign file.

    Attributes:
        accept: of a file's content gives its program and the content of a file that LiteRT must be able to run, None
            if it vouches for none; or raises ValueError.
        slow: seconds of a core that it may not need.
    """

    accept: Callable[[bytes], tuple[Program, bytes | None]]
    slow: float = 1.0


def _made_trainable(content: bytes) -> tuple[Program, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        source, written = Path(folder) / "source.tflite", Path(folder) / "written.tflite"
        source.write_bytes(content)
        tflite_export.make_trainable(source, written, verify=False)
        return flatbuffer.read(written), written.read_bytes()


ENTRY_POINTS = {
    "read": EntryPoint(lambda content: (flatbuffer.read(content), None)),
    "checked": EntryPoint(lambda content: (flatbuffer.checked(content), content)),
    "make_trainable": EntryPoint(_made_trainable, slow=10.0),
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
            program, made = entry.accept(content)
        except ValueError:
            outcome = "refused"
        except Exception as error:
            result.note(f"raised {type(error).__name__}", content, broken=True)
            continue
        else:
            outcome = "accepted"
            accepted += 1
        slow = time.process_time() - start > entry.slow
        result.note("slow" if slow else outcome, content, broken=slow)
        if outcome == "accepted" and accepted % run_every == 0:
            _use(program, made, content, result, litert)
    return result


def _use(program: Program, made: bytes | None, content: bytes, result: Result, litert: LiteRT) -> None:
    """What has been accepted can be written back, and LiteRT survives it."""
    try:
        flatbuffer.write(program)
    except Exception as error:
        result.note(f"not written back: {type(error).__name__}", content, broken=True)
    if made is not None:
        end = litert.run(made)
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
