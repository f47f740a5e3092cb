"""How long does a training step take, against plain inference?

Every row is one export of MobileNetV2-1.0@224, SGD: its training step and the inference file that TensorFlow's own
converter makes of the same network, at the same batch size, run in turns in one process, with one thread and the kernel
set that the file is exported for. With micro-batches a step is all its `accumulate` and the `apply`. Medians over the
rounds; the ratio is the median of the rounds' ratios. It is processor time that counts, so other work on the machine
disturbs little, but not nothing: caches and memory are shared.

"parts" are the XNNPACK partitions of the signatures of the step; what stays outside of them is printed below.
--peer=tensorflow has TensorFlow take the same steps in the same rounds: the Keras model in a `tf.function`, with
GradientTape.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import peer_tensorflow
from absl import app, flags
from alternation import alternated, runner
from lowered_once import lowered_once
from partitions import partitions
from settings import Setting
from text_table import table
from tqdm import tqdm
from versions import versions

NETWORK = "MobileNetV2-1.0@224"

FLAGS = flags.FLAGS
flags.DEFINE_string("filter", "", "Only rows that hold every one of these words, as in 'bias xnnpack batch=1'.")
flags.DEFINE_integer("rounds", 30, "Rounds of each row.", lower_bound=1)
flags.DEFINE_enum("peer", "", ["", "tensorflow"], "Who takes the same steps in the same rounds.")


@dataclasses.dataclass(frozen=True)
class Row:
    """A setting, and how many inferences its step may take at most."""

    setting: Setting
    mark: float | None = None


def _rows():
    bias, both, by_one = "bias", "lite_residual+bias", {"batch_size": 8, "micro_batch": 1}
    yield Row(Setting(NETWORK, bias, "xnnpack"), 2.8)
    yield Row(Setting(NETWORK, bias, "xnnpack", train_from=0.25), 2.0)
    yield Row(Setting(NETWORK, both, "xnnpack"), 3.5)
    yield Row(Setting(NETWORK, bias, "xnnpack", **by_one), 3.0)
    yield Row(Setting(NETWORK, bias))
    yield Row(Setting(NETWORK, bias, train_from=0.25))
    yield Row(Setting(NETWORK, both))
    yield Row(Setting(NETWORK, bias, **by_one))


ROWS = tuple(_rows())


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    if FLAGS.peer:
        peer_tensorflow.use_one_thread()
    rows = [row for row in ROWS if set(FLAGS.filter.split()) <= set(str(row.setting).split())]
    if not rows:
        raise app.UsageError(f"--filter={FLAGS.filter!r} leaves no row")
    with tempfile.TemporaryDirectory() as folder, lowered_once():
        measured = [measure(row, Path(folder)) for row in tqdm(rows, desc="rows")]
    head = ("method", "from", "kernels", "batch", "ms/step", "ms/inference", "ratio", "mark", "", "parts")
    print(f"\n{versions()}\n\n{NETWORK}, SGD, 1 thread, median of {FLAGS.rounds}\n")
    print(table((*head, "TF ms/step") if FLAGS.peer else head, [line for line, *_ in measured], left=4))
    for row, (_, outside, _) in zip(rows, measured):
        if outside:
            print(f"\n{row.setting}, outside of XNNPACK: {outside}")
    return 1 if any(slow for *_, slow in measured) else 0


def measure(row: Row, folder: Path) -> tuple[tuple[str, ...], str, bool]:
    """The line of the table, what stays outside of XNNPACK, and whether the mark is missed."""
    setting = row.setting
    path = folder / "trainable.tflite"
    setting.export(path)
    stock = setting.stock_file(folder, setting.batch_size)
    runs = [runner(path, setting.kernels, setting.step)]
    if FLAGS.peer:
        step = peer_tensorflow.training_step(setting.model())
        x, y = peer_tensorflow.inputs(setting.model().input_shape, setting.batch_size)
        runs.append(lambda: step(x, y).numpy())
    milliseconds, ratios = alternated([*runs, runner(stock, setting.kernels)], FLAGS.rounds)
    found = {s: partitions(path, s) for s in setting.step} if setting.kernels == "xnnpack" else {}
    slow = row.mark is not None and ratios[0] > row.mark
    line = (
        setting.method,
        str(setting.train_from or "–"),
        setting.kernels,
        setting.batch_label,
        f"{milliseconds[0]:.2f}",
        f"{milliseconds[-1]:.2f}",
        f"{ratios[0]:.2f}",
        str(row.mark or ""),
        "" if row.mark is None else "MISSED" if slow else "met",
        "+".join(str(count) for count, _ in found.values()) or "–",
        *([f"{milliseconds[1]:.2f}"] if FLAGS.peer else []),
    )
    outside = "; ".join(
        f"{signature} {', '.join(f'{kind} {count}' for kind, count in kinds.items())}"
        for signature, (_, kinds) in found.items()
        if kinds
    )
    return line, outside, slow


if __name__ == "__main__":
    app.run(main)
