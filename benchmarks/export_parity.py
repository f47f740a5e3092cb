"""Does an exported file train as Keras does?

Networks x methods x optimizers x batch sizes x kernel sets. Each file is trained for a few steps in LiteRT, with the
kernel set that it was exported for, and so is the converted model in Keras, by GradientTape and keras.optimizers, both
from the same weights on the same batches and then left alone. A row passes if

* the update of every variable is Keras's: ||D - D_keras|| / ||D_keras|| <= the mark, D = value after the steps - value
  before. So is that of all that the optimizer keeps (momenta, moments, count of steps). With Adam, of a weight's update
  direction and size count, each by itself: 1 - cos(D, D_keras) and | ||D|| / ||D_keras|| - 1 | <= the mark.
* a run that was saved after step 3 and restored into a fresh interpreter ends where the unbroken one does, to the bit.

Rows of the kernels "micro" train a file for TFLite Micro in its Python wheel, at batch 1. They pass if the loss of
every step is that of the file for LiteRT's builtin kernels, to --loss_tolerance.

Only a problem that is well posed can be compared: where a ReLU's input is within rounding of its kink, float32 decides
by chance which way it goes, and one such unit can move an update by a percent. So every batch is drawn anew until
Keras's gradients agree with themselves to a fifth of the mark when images and biases change by a few parts in a
million. The exported file has no say in that.

Even so some runs drift apart that are left alone: the first step's rounding moves the units of the second, and so on;
and where an update is a millionth of its weight, storing the weight rounds away what there is to compare. The column
"Keras" has how far noise drives the whole run of Keras from itself; it acquits no file. The column "a step" does not
drift: each step starts from the state that Keras has reached, restored into the file, and its update alone is compared,
at a rate so large that what storing a weight rounds does not count, with that of Keras in float64. A row beyond the
mark passes "by step" if the update of every variable in every single step is within the mark: what a step leaves is all
that the next one knows, as the restored run has proved. A step that is not is taken again on other batches
(step_by_step.py). Any other row beyond the mark fails.

Finished rows are kept in --results, and an interrupted run goes on there; a changed program starts anew. The exit
status is 1 if a row fails.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import networks
import numpy as np
from absl import app, flags
from differences import training_differences, worst_of
from kept_rows import KeptRows, digest_of_program
from keras_training import KerasTraining, Reference, State
from litert import Session
from lowered_once import lowered_once
from parity_cases import MICRO, OPTIMIZERS, Case, all_cases, group_of, sample_of
from step_by_step import RATE, step_differences
from text_table import table
from tqdm import tqdm

import tflite_export
from tflite_export import flatbuffer
from tflite_export.micro_program import TRAIN
from tflite_export.verify_micro import MicroEntry

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "filter", "", "Only rows whose name holds every one of these words, as in 'MobileNetV2 last xnnpack'."
)
flags.DEFINE_boolean("sample", False, "Only every network with every method and optimizer once, the rest in turn.")
flags.DEFINE_string("results", "out/export_parity.json", "File of the finished rows.")
flags.DEFINE_integer("seed", 0, "Of weights, images and labels.")
flags.DEFINE_integer("steps", 5, "Training steps.", lower_bound=4)
flags.DEFINE_float("tolerance", 1e-3, "Largest difference of an update that passes.")
flags.DEFINE_float("loss_tolerance", 1e-5, "Largest |loss - loss in LiteRT| of a step in TFLite Micro that passes.")

SAVED_AFTER = 3  # steps
PASS, BY_STEP, FAIL = "pass", "by step", "FAIL"
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "tensorflow", "tflite-micro")


@dataclasses.dataclass(frozen=True)
class Row:
    """`differences` by variable, or of the loss alone in TFLite Micro.

    `steps` are the largest differences of single steps, by variable, empty in TFLite Micro; `loss_difference` is the
    largest |loss - Keras's loss| of a step; `sensitivity` is the reference's; `resumed_equal` is None where nothing was
    resumed; `seconds` leaves the shared work out.
    """

    case: Case
    differences: dict[str, float]
    steps: dict[str, float]
    sensitivity: float
    loss_difference: float
    resumed_equal: bool | None
    seconds: float

    @property
    def worst(self) -> str:
        return worst_of(self.differences)

    @property
    def verdict(self) -> str:
        if self.resumed_equal is False:
            return FAIL
        if self.differences[self.worst] <= (FLAGS.loss_tolerance if self.case.kernels == MICRO else FLAGS.tolerance):
            return PASS
        return BY_STEP if self.steps and self.steps[worst_of(self.steps)] <= FLAGS.tolerance else FAIL


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    cases = sample_of(all_cases()) if FLAGS.sample else all_cases()
    cases = [case for case in cases if all(word in str(case) for word in FLAGS.filter.split())]
    if not cases:
        raise app.UsageError(f"--filter={FLAGS.filter!r} leaves no row")
    kept = KeptRows(Path(FLAGS.results), digest_of_program(_PACKAGES))
    missing = [case for case in cases if key_of(case) not in kept]
    with tqdm(total=len(cases), initial=len(cases) - len(missing), desc="rows") as bar:
        for _, group in itertools.groupby(missing, key=group_of):
            for row in measured(list(group)):
                kept.keep(key_of(row.case), dataclasses.asdict(row))
                bar.update()
    rows = [Row(**{**kept[key_of(case)], "case": case}) for case in cases]
    marks = f"{FLAGS.tolerance:.0e}, {MICRO} at {FLAGS.loss_tolerance:.0e}"
    print(f"\n{FLAGS.steps} steps, seed {FLAGS.seed}; passes at {marks}\n")
    print(report(rows))
    counts = Counter(row.verdict for row in rows)
    print(f"\n{counts[PASS]} of {len(rows)} rows pass, {counts[BY_STEP]} pass by step alone, {counts[FAIL]} fail")
    return 1 if counts[FAIL] else 0


def key_of(case: Case) -> str:
    """The case and the settings that a row depends on; the mark chooses the batches."""
    return f"{case} seed={FLAGS.seed} steps={FLAGS.steps} tolerance={FLAGS.tolerance}"


def measured(cases: list[Case]):
    """Yields the rows of `cases`, which have one network, method and batch size."""
    network, method, batch_size = group_of(cases[0])
    model = networks.build(network, method, FLAGS.seed)
    training = KerasTraining(model, batch_size, noisy_steps=6, noisy_runs=2, runs=1)
    with lowered_once():
        for optimizer, group in itertools.groupby(cases, key=lambda case: case.optimizer):
            group = list(group)
            reference = training.reference(
                *(optimizer, group[0].learning_rate),
                steps=FLAGS.steps,
                seed=FLAGS.seed + 1,
                tolerance=FLAGS.tolerance / 5,
            )
            single_steps = training.single_steps(optimizer, RATE, reference.starts)
            for case in group:
                start = time.perf_counter()
                if case.kernels == MICRO:
                    row = measure_micro(case, model, reference)
                else:
                    row = measure(case, model, training, reference, single_steps)
                yield dataclasses.replace(row, seconds=time.perf_counter() - start)


def exported(model: keras.Model, case: Case, **options) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        tflite_export.export(
            model,
            path,
            batch_size=case.batch_size,
            infer_batch_size=case.batch_size,
            optimizer=OPTIMIZERS[case.optimizer](),
            verify=False,  # the comparison here is stricter than the exporter's own
            **options,
        )
        return path.read_bytes()


def measure(
    case: Case, model: keras.Model, training: KerasTraining, reference: Reference, single_steps: list[State]
) -> Row:
    """Trains the file three times: without a stop, stopped in between, and step by step."""
    content, rate = exported(model, case, kernels=case.kernels), case.learning_rate
    batches = reference.batches
    unbroken = Session(content, case.kernels)
    losses = [unbroken.train(x, y, rate) for x, y in batches]
    after = unbroken.save()

    stopped = Session(content, case.kernels)
    for x, y in batches[:SAVED_AFTER]:
        stopped.train(x, y, rate)
    resumed = Session(content, case.kernels)
    resumed.restore(stopped.save())
    for x, y in batches[SAVED_AFTER:]:
        resumed.train(x, y, rate)
    resumed_after = resumed.save()

    return Row(
        case=case,
        differences=training_differences(case.optimizer, reference.before, after, reference.after),
        steps=step_differences(
            Session(content, case.kernels),
            case.optimizer,
            reference,
            single_steps,
            training.another_step(case.optimizer, RATE, FLAGS.seed),
            FLAGS.tolerance,
        ),
        sensitivity=reference.sensitivity,
        loss_difference=float(np.abs(np.subtract(losses, reference.losses)).max()),
        resumed_equal=all(resumed_after[name].tobytes() == after[name].tobytes() for name in after),
        seconds=0,
    )


def measure_micro(case: Case, model: keras.Model, reference: Reference) -> Row:
    """Trains a file in TFLite Micro, and one in LiteRT."""
    content, rate = exported(model, case, runtime="micro"), case.learning_rate
    (entry,) = flatbuffer.read(content).signatures
    micro, session = MicroEntry(content, entry), Session(exported(model, case, kernels="builtin"), "builtin")
    losses, differences = [], []
    for x, y in reference.batches:
        loss = micro.run(TRAIN, x=x, y=y, learning_rate=np.array([rate], np.float32))["loss"]
        losses.append(float(loss[0]))
        differences.append(abs(losses[-1] - session.train(x, y, rate)))
    return Row(
        case=case,
        differences={"loss": float(np.max(differences))},
        steps={},
        sensitivity=reference.sensitivity,
        loss_difference=float(np.abs(np.subtract(losses, reference.losses)).max()),
        resumed_equal=None,
        seconds=0,
    )


def report(rows: list[Row]) -> str:
    head = (
        "network",
        "method",
        "optimizer",
        "kernels",
        "batch",
        "worst",
        "median",
        "a step",
        "Keras",
        "loss",
        "resumed",
        "verdict",
        "seconds",
        "worst variable",
    )
    body = [
        (
            row.case.network,
            row.case.method,
            row.case.optimizer,
            row.case.kernels,
            str(row.case.batch_size),
            f"{row.differences[row.worst]:.1e}",
            f"{np.median(list(row.differences.values())):.1e}",
            f"{row.steps[worst_of(row.steps)]:.1e}" if row.steps else "–",
            f"{row.sensitivity:.0e}",
            f"{row.loss_difference:.0e}",
            {True: "equal", False: "DIFFERS", None: "–"}[row.resumed_equal],
            row.verdict,
            f"{row.seconds:.0f}",
            shortened(row.worst),
        )
        for row in rows
    ]
    return table(head, body, left=4)


def shortened(name: str, length: int = 28) -> str:
    """The end of a name that is too long, which tells more than its beginning."""
    return name if len(name) <= length else "…" + name[-(length - 1) :]


if __name__ == "__main__":
    app.run(main)
