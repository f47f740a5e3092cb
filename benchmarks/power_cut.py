"""Whether learning survives a power cut, at any moment.

Three trials, on a file that is exported here (Adam, shuffled batches, the best epoch restored at the end):

- killed: a process that trains and saves after every step is killed by SIGKILL, at random moments, hundreds of times.
  After each kill, what is on the disk must be a state that the uninterrupted run went through, not older than the last
  save that returned; the next process goes on from it.
- cut: the system calls of saves are recorded, and replayed up to every boundary: half a write, a write without its
  fsync (any part of the file, or zeros), and every subset of renames that no fsync of the folder has confirmed.
- resumed: the run that was killed all the time must end where the uninterrupted one ends, to the bit.

    python benchmarks/power_cut.py            # 500 kills, a few minutes
    python benchmarks/power_cut.py --kills 20

Exit status 1 if anything was lost. Linux: it forks.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from absl import app, flags
from file_system_replay import Recorder, disks_after
from small_file import BATCH, SAMPLES, export_small, samples
from text_table import table
from tqdm.auto import tqdm

from tflite_export import atomic
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import State, former_path, read_latest_state, read_state, write_state

FLAGS = flags.FLAGS
flags.DEFINE_integer("kills", 500, "SIGKILLs.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of the moments.")
flags.DEFINE_integer("keep", 3, "States on the disk.", lower_bound=1)

STEPS_PER_EPOCH = -(-SAMPLES // BATCH)


@dataclasses.dataclass
class Outcome:
    """`lost` counts states older than a save that had returned, `corrupt` those that no run went through."""

    trial: str
    cuts: int = 0
    lost: int = 0
    corrupt: int = 0
    remark: str = ""

    @property
    def good(self) -> bool:
        return not self.lost and not self.corrupt


def train(path: Path, state: Path, epochs: int, keep: int, after_save=lambda model: None) -> None:
    """Trains from `state`, if it is there, and saves after every step and at the end."""
    model = OnDeviceModel(path, state if state.exists() else None, num_threads=1)
    x, y = samples()

    def save(_=None):
        model.save(state, keep)
        after_save(model)

    if model.fit_progress is None and model.steps:
        return  # all done
    model.fit(
        x, y, epochs, learning_rate=lambda step: 0.02 / (1 + step / 50), validation=(x[:5], y[:5]), seed=3,
        resume=model.fit_progress is not None, restore_best=True, after_step=save, verbose=False,
    )  # fmt: skip
    save()


def fingerprint(state: State) -> tuple:
    """Everything in a state, the tensors to the bit; equal for equal states."""
    tensors = {**state.tensors, **{f"best/{name}": value for name, value in (state.best or {}).items()}}
    return (state.step, repr(state.progress), *((name, tensors[name].tobytes()) for name in sorted(tensors)))


def in_child(work) -> int:
    """Runs `work` in a forked process; returns its id."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # LiteRT greets every process
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def uninterrupted(path: Path, folder: Path, epochs: int, keep: int) -> tuple[list[tuple], float]:
    """The fingerprints of all states that an uninterrupted run saves, in order; and seconds from one to the next."""
    seen = folder / "seen"
    seen.mkdir()

    def note(model):
        os.link(folder / "state", seen / f"{len(list(seen.iterdir())):06}")

    start = time.monotonic()
    child = in_child(lambda: train(path, folder / "state", epochs, keep, note))
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the uninterrupted run failed")
    pace = (time.monotonic() - start) / len(list(seen.iterdir()))
    return [fingerprint(read_state(file)) for file in sorted(seen.iterdir())], pace


def kill(
    path: Path, state: Path, expected: list[tuple], pace: float, epochs: int, kills: int, keep: int, seed: int
) -> Outcome:
    """Kills a training process again and again: one in ten while it starts, the others within a few steps.

    Args:
        expected: The states of a run without interruption.
        pace: Seconds from one of them to the next.
    """
    rng, outcome = random.Random(seed), Outcome("killed by SIGKILL")
    position = {print_: index for index, print_ in enumerate(expected)}
    newest, reached = -1, set()
    for _ in range(kills):
        reading, writing = os.pipe()
        child = in_child(lambda: train(path, state, epochs, keep, lambda model: os.write(writing, b".")))  # noqa: B023
        os.close(writing)
        starting = rng.random() < 0.1
        first = b"" if starting else os.read(reading, 1)  # waits for the first save, or the end
        time.sleep(rng.uniform(0, 4 * pace))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acknowledged = len(first) + _count(reading)
        os.close(reading)
        outcome.cuts += 1
        try:
            found, damage = read_latest_state(state)
        except FileNotFoundError:
            outcome.lost += newest >= 0 or acknowledged > 0
            continue
        except (OSError, ValueError):
            outcome.lost += 1
            continue
        index = position.get(fingerprint(found), -1)
        if damage or index < 0:
            outcome.corrupt += 1
        elif index < newest + acknowledged:
            outcome.lost += 1
        newest = index
        reached.add(index)
    abandoned = len([file for file in state.parent.iterdir() if file.name.startswith(f".{state.name}.")])
    outcome.remark = f"in {len(reached)} of {len(expected)} states; {abandoned} temporary files left"
    return outcome


def _count(reading: int) -> int:
    total = 0
    while part := os.read(reading, 65536):
        total += len(part)
    return total


def cut(state: State, keep: int, saves: int = 4) -> Outcome:
    """Replays saves up to every boundary between system calls, and within writes."""
    outcome, disks = Outcome("cut between system calls"), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "state.safetensors"
        for step in range(saves):
            with Recorder(atomic, folder) as recorder:
                before = recorder.snapshot()
                write_state(path, dataclasses.replace(state, step=step), keep)
            for files, complete in disks_after(before, recorder.calls):
                disks += 1
                before_it = step - 1 if step else None
                allowed = [step] if complete else [step, before_it]
                outcome.lost += not _is_one_of(files, path.name, allowed, state)
            outcome.cuts += len(recorder.calls) + 1
        assert read_state(path).step == saves - 1 and (keep == 1 or former_path(path, 1).exists())
    outcome.remark = f"{disks} different disks"
    return outcome


def _is_one_of(files: dict[str, bytes], name: str, steps: list[int | None], state: State) -> bool:
    """Whether a disk with `files` gives back a whole state with one of these step counts; None: no state at all."""
    with tempfile.TemporaryDirectory() as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        try:
            found, _ = read_latest_state(Path(folder) / name)
        except FileNotFoundError:
            return None in steps
        except ValueError:
            return False
        return found.step in steps and fingerprint(dataclasses.replace(found, step=state.step)) == fingerprint(state)


def resumed(path: Path, state: Path, expected: list[tuple], epochs: int, keep: int) -> Outcome:
    """Lets the run that was killed go on to its end."""
    child = in_child(lambda: train(path, state, epochs, keep))
    failed = os.waitpid(child, 0)[1] != 0
    equal = not failed and fingerprint(read_state(state)) == expected[-1]
    remark = f"{expected[-1][0]} steps, best epoch restored, Adam: " + ("equal to the bit" if equal else "DIFFERENT")
    return Outcome("resumed to the end", 1, 0, int(not equal), remark)


def trials(folder: Path, kills: int, keep: int, seed: int) -> list[Outcome]:
    """All three, in `folder`."""
    tqdm.set_lock(threading.RLock())  # its own lock is shared with forked processes, and a killed one never lets go
    path = folder / "model.tflite"
    export_small(path)
    epochs = 2 + kills // STEPS_PER_EPOCH * 4
    (folder / "whole").mkdir()
    (folder / "killed").mkdir()
    expected, pace = uninterrupted(path, folder / "whole", epochs, keep)
    state = folder / "killed" / "state.safetensors"
    killed = kill(path, state, expected, pace, epochs, kills, keep, seed)
    return [killed, resumed(path, state, expected, epochs, keep), cut(read_state(state), keep)]


def report(outcomes: list[Outcome]) -> str:
    rows = [(o.trial, str(o.cuts), str(o.lost), str(o.corrupt), o.remark) for o in outcomes]
    return table(("trial", "cuts", "lost", "corrupt", ""), rows)


def main(_):
    with tempfile.TemporaryDirectory() as folder:
        outcomes = trials(Path(folder), FLAGS.kills, FLAGS.keep, FLAGS.seed)
    print(report(outcomes))
    sys.exit(not all(outcome.good for outcome in outcomes))


if __name__ == "__main__":
    app.run(main)
