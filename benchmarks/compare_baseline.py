"""Has the exported step become larger or slower?

Exports a few networks and compares with benchmarks/baseline.json: the planned arena and the size of the file (at most
1 % larger), operators and XNNPACK partitions (no more), and for small networks the time of a step in inferences (at
most 10 % slower; what is slower is timed again, up to five times, and the fastest counts). --update writes the file
anew, with the median of five.

Bytes and counts are the same on every machine. Ratios are not: renew the file before you compare on another one. The
exit status is 1 if something is worse.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from absl import app, flags
from alternation import alternated, runner
from lowered_once import lowered_once
from networks import PLAIN
from partitions import partitions
from settings import Setting
from text_table import table
from tqdm import tqdm
from versions import versions

FLAGS = flags.FLAGS
flags.DEFINE_string("baseline", str(Path(__file__).with_name("baseline.json")), "What is compared with.")
flags.DEFINE_bool("update", False, "Write the baseline instead of comparing with it.")
flags.DEFINE_integer("rounds", 60, "Runs of each step and each inference.", lower_bound=1)

SMALL, BY_ONE = "MobileNetV2-0.35@96", {"batch_size": 8, "micro_batch": 1}
TIMED = (
    *(Setting(SMALL, "bias", kernels) for kernels in ("builtin", "xnnpack")),
    *(Setting(SMALL, "bias", kernels, **BY_ONE) for kernels in ("builtin", "xnnpack")),
    *(Setting(PLAIN, method, kernels) for method in ("bias", "full") for kernels in ("builtin", "xnnpack")),
)
PLANNED = tuple(
    Setting(network, "bias", kernels)
    for network in ("MobileNetV2-1.0@224", "ProxylessNAS-Mobile@224 batch")
    for kernels in ("builtin", "xnnpack")
)
RATIO = "step / inference"
ALLOWED = {"arena bytes": 1.01, "file bytes": 1.01, RATIO: 1.1}  # times the baseline; of anything else, no more
_ATTEMPTS = 5


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    path = Path(FLAGS.baseline)
    if not FLAGS.update and not path.exists():
        raise app.UsageError(f"there is no {path}; write it with --update")
    baseline = {} if FLAGS.update else json.loads(path.read_text())["rows"]
    found = {}
    with tempfile.TemporaryDirectory() as folder, lowered_once():
        for setting in tqdm((*TIMED, *PLANNED), desc="exports"):
            before = baseline.get(str(setting), {})
            slowest = 0 if FLAGS.update else allowed(before, RATIO)
            found[str(setting)] = measure(setting, Path(folder), slowest)
    if FLAGS.update:
        path.write_text(json.dumps({"versions": versions(), "rows": found}, indent=1) + "\n")
        print(f"wrote {path}")
        return 0
    lines = [line for name, row in found.items() for line in compared(name, baseline.get(name, {}), row)]
    print(f"\n{table(('export', 'what', 'baseline', 'now', 'change', ''), lines, left=2)}")
    worse = [line for line in lines if line[-1]]
    print(f"\n{len(worse)} worse than the baseline" if worse else "\nNothing is worse than the baseline.")
    return 1 if worse else 0


def measure(setting: Setting, folder: Path, slowest: float) -> dict[str, float]:
    """Numbers by name. A ratio above `slowest` is measured again."""
    path = folder / "trainable.tflite"
    report, _ = setting.export(path)
    row = {"arena bytes": report.train_arena_bytes, "file bytes": report.file_bytes}
    for signature, ops in report.ops.items():
        row[f"{signature} operators"] = sum(ops.values())
    if setting.kernels == "xnnpack":
        for signature in setting.step:
            row[f"{signature} partitions"] = partitions(path, signature)[0]
    if setting in TIMED:
        stock = setting.stock_file(folder, setting.batch_size)
        runs = runner(path, setting.kernels, setting.step), runner(stock, setting.kernels)
        ratios = []
        while len(ratios) < _ATTEMPTS and min(ratios, default=float("inf")) > slowest:
            ratios.append(round(alternated(runs, FLAGS.rounds)[1][0], 3))
        row[RATIO] = statistics.median(ratios) if FLAGS.update else min(ratios)
    return row


def allowed(before: dict[str, float], name: str) -> float:
    """The largest value that is not worse; of what the baseline does not know, none is."""
    return ALLOWED.get(name, 1) * before.get(name, float("inf"))


def compared(name: str, before: dict[str, float], now: dict[str, float]):
    """Yields a line for each number that changed or is new, and for every ratio."""
    for what, value in now.items():
        old = before.get(what)
        if old != value or what == RATIO:
            change = "new" if old is None else f"{100 * (value / old - 1):+.1f} %" if old else "–"
            verdict = "WORSE" if value > allowed(before, what) else ""
            yield name, what, "–" if old is None else f"{old:,}", f"{value:,}", change, verdict


if __name__ == "__main__":
    app.run(main)
