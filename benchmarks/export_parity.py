"""Does an exported file train as Keras does?

Networks x methods x batch sizes x kernel sets. Each file is trained for a few steps in LiteRT, with the kernel set
that it was exported for, and so is the converted model in Keras, by GradientTape and keras.optimizers.SGD, both from
the same weights on the same batches and then left alone. A row passes if

* the update of every variable is Keras's: ||D - D_keras|| / ||D_keras||, D = value after the steps - value before;
* a run that was saved after step 3 and restored into a fresh interpreter ends where the unbroken one does, to the bit.

Only a problem that is well posed can be compared: where a ReLU's input is within rounding of its kink, float32 decides
by chance which way it goes, and one such unit can move an update by a percent. So the batches are drawn anew until
Keras agrees with itself to a fifth of the mark when the images change by a few parts in a million (the column
"Keras"). The exported file has no say in that.

The exit status is 1 if a row fails.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import networks
import numpy as np
import tensorflow as tf
from absl import app, flags
from differences import update_difference, worst_of
from litert import KERNELS, Session
from text_table import table
from tqdm import tqdm

import tflite_export

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "filter", "", "Only rows whose name holds every one of these words, as in 'MobileNetV2 last xnnpack'."
)
flags.DEFINE_integer("seed", 0, "Of weights, images and labels.")
flags.DEFINE_integer("steps", 5, "Training steps.", lower_bound=4)
flags.DEFINE_float("learning_rate", 0.05, "Of every step.")
flags.DEFINE_float("tolerance", 1e-3, "Largest ||D - D_keras|| / ||D_keras|| that passes.")

NETWORKS = ("MobileNetV2-0.35@96", "MobileNetV2-1.0@128", "MobileNetV2-0.5@75x91", networks.PLAIN)
METHODS = ("last", "bias")
BATCH_SIZES = (1, 3)
SAVED_AFTER = 3  # steps
_NOISE = 3e-6  # standard deviation; pixels have 1. What a few dozen layers add up in float32.
_NOISY_RUNS = 3
_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class Case:
    network: str
    method: str
    batch_size: int
    kernels: str

    def __str__(self) -> str:
        return f"{self.network} {self.method} batch={self.batch_size} {self.kernels}"


@dataclasses.dataclass(frozen=True)
class Row:
    """`differences` by variable; `loss_difference` is the largest |loss - Keras's loss| of a step; `sensitivity` is the
    reference's.
    """

    case: Case
    differences: dict[str, float]
    sensitivity: float
    loss_difference: float
    resumed_equal: bool

    @property
    def worst(self) -> str:
        return worst_of(self.differences)

    @property
    def passed(self) -> bool:
        return self.differences[self.worst] <= FLAGS.tolerance and self.resumed_equal


Batches = list[tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Reference:
    """A training run in Keras.

    `losses` has one entry per step; `before` and `after` hold the trainable weights by path; `sensitivity` is the
    largest relative difference of any variable's update when the images change by `_NOISE`.
    """

    batches: Batches
    losses: list[float]
    before: dict[str, np.ndarray]
    after: dict[str, np.ndarray]
    sensitivity: float


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    cases = [Case(*values) for values in itertools.product(NETWORKS, METHODS, BATCH_SIZES, KERNELS)]
    cases = [case for case in cases if all(word in str(case) for word in FLAGS.filter.split())]
    if not cases:
        raise app.UsageError(f"--filter={FLAGS.filter!r} leaves no row")
    rows = []
    with tqdm(total=len(cases), desc="rows") as bar:
        for (network, method, batch_size), group in itertools.groupby(
            cases, key=lambda case: (case.network, case.method, case.batch_size)
        ):
            model = networks.build(network, method, FLAGS.seed)
            contents = {case: exported(model, case) for case in group}
            reference = train_in_keras(model, batch_size)
            for case, content in contents.items():
                rows.append(measure(case, content, reference))
                bar.update()
    print(f"\n{FLAGS.steps} steps at rate {FLAGS.learning_rate}, seed {FLAGS.seed}; passes at {FLAGS.tolerance:.0e}\n")
    print(report(rows))
    failed = sum(not row.passed for row in rows)
    print(f"\n{len(rows) - failed} of {len(rows)} rows pass")
    return 1 if failed else 0


def exported(model: keras.Model, case: Case) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        # The comparison below is stricter than the exporter's own.
        tflite_export.export(model, path, batch_size=case.batch_size, kernels=case.kernels, verify=False)
        return path.read_bytes()


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    """The trainable ones, by path."""
    return {variable.path: np.array(variable.numpy()) for variable in model.trainable_variables}


def train_in_keras(model: keras.Model, batch_size: int) -> Reference:
    """Trains `model`, on the first batches on which float32 determines the outcome (or the best of `_DRAWS`)."""
    before = weights(model)
    rng = np.random.default_rng(FLAGS.seed + 1)
    best = None
    for _ in range(_DRAWS):
        batches = [
            (networks.images(rng, batch_size, model.input_shape[1:]), networks.labels(rng, batch_size))
            for _ in range(FLAGS.steps)
        ]
        losses, after = keras_steps(model, before, batches)
        sensitivity = 0.0
        for _ in range(_NOISY_RUNS):
            noisy = [(x + np.float32(_NOISE) * networks.images(rng, len(x), x.shape[1:]), y) for x, y in batches]
            _, other = keras_steps(model, before, noisy)
            sensitivity = max(sensitivity, *(update_difference(before[k], other[k], after[k]) for k in before))
            if sensitivity > FLAGS.tolerance / 5:
                break
        if best is None or sensitivity < best.sensitivity:
            best = Reference(batches, losses, before, after, sensitivity)
        if best.sensitivity <= FLAGS.tolerance / 5:
            break
    return best


def keras_steps(model: keras.Model, state: dict[str, np.ndarray], batches: Batches):
    """From the weights `state`: the loss of every step, and the weights after the last."""
    for variable in model.trainable_variables:
        variable.assign(state[variable.path])
    optimizer = keras.optimizers.SGD(FLAGS.learning_rate)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # a converted model's head is linear
    losses = []
    for x, y in batches:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=False))
        gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
        optimizer.apply(gradients, model.trainable_variables)
        losses.append(float(loss))
    return losses, weights(model)


def measure(case: Case, content: bytes, reference: Reference) -> Row:
    """Trains `content` twice: without a stop, and stopped in between."""
    batches, before = reference.batches, reference.before
    unbroken = Session(content, case.kernels)
    losses = [unbroken.train(x, y, FLAGS.learning_rate) for x, y in batches]
    after = unbroken.save()

    stopped = Session(content, case.kernels)
    for x, y in batches[:SAVED_AFTER]:
        stopped.train(x, y, FLAGS.learning_rate)
    resumed = Session(content, case.kernels)
    resumed.restore(stopped.save())
    for x, y in batches[SAVED_AFTER:]:
        resumed.train(x, y, FLAGS.learning_rate)
    resumed_after = resumed.save()

    return Row(
        case=case,
        differences={name: update_difference(before[name], after[name], reference.after[name]) for name in before},
        sensitivity=reference.sensitivity,
        loss_difference=float(np.abs(np.subtract(losses, reference.losses)).max()),
        resumed_equal=all(resumed_after[name].tobytes() == after[name].tobytes() for name in after),
    )


def report(rows: list[Row]) -> str:
    head = (
        "network",
        "method",
        "kernels",
        "batch",
        "worst",
        "median",
        "Keras",
        "loss",
        "resumed",
        "verdict",
        "worst variable",
    )
    body = [
        (
            row.case.network,
            row.case.method,
            row.case.kernels,
            str(row.case.batch_size),
            f"{row.differences[row.worst]:.1e}",
            f"{np.median(list(row.differences.values())):.1e}",
            f"{row.sensitivity:.0e}",
            f"{row.loss_difference:.0e}",
            "equal" if row.resumed_equal else "DIFFERS",
            "pass" if row.passed else "FAIL",
            shortened(row.worst),
        )
        for row in rows
    ]
    return table(head, body, left=3)


def shortened(name: str, length: int = 28) -> str:
    """The end of a name that is too long, which tells more than its beginning."""
    return name if len(name) <= length else "…" + name[-(length - 1) :]


if __name__ == "__main__":
    app.run(main)
