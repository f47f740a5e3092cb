"""Which Keras models train on the device, and in how much memory?

Every model of zoo_models.py by `bias`, `lite_residual+bias` and `full`: converted, exported, trained for three steps of
SGD in LiteRT, and for the same three in Keras by GradientTape, both from the same weights on the same batches and then
left alone. One row each:

* branches: lite residual branches that `convert` inserts. ops: operators of the training step.
* worst, median: ||D - D_keras|| / ||D_keras|| over the variables that move, D = value after the steps - before.
* still: variables that do not move in Keras either, of which nothing can be told (a dead ReLU behind them).
* a step: the largest difference of a single step of these, each from the state that Keras has reached, restored into
  the file, at a rate so large that what storing a weight rounds does not count, to Keras in float64 (step_by_step.py).
* Keras: how far noise of the size of rounding drives the whole run of Keras from itself; it acquits no file.
* train, infer, stock: planned arenas of the training step, of the file's inference, and of the file that TensorFlow's
  own converter makes for inference. growth: VmHWM of a fresh process after three training steps minus its value once
  the runtime is imported and the inputs are made. MB are 10^6 bytes.

The verdicts: "trains", worst is at most --tolerance. "by step", two runs that are left alone drift further apart, and
the update of every variable in every single step is within --tolerance. "explained", `convert` or `export` refuses the
model and says why; the reasons stand below the table. "FAIL", anything else. The weights are random, but calm
(calm_weights.py), so that the first of these can be asked for.

Finished rows are kept in --results, and an interrupted run goes on there; a changed program starts anew. The exit
status is 1 if a row fails.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import app, flags
from calm_weights import PIXEL_DEVIATION, calm, random_inputs
from differences import training_differences, worst_of
from fresh_process import growth
from kept_rows import KeptRows, digest_of_program
from keras_training import KerasTraining, Reference
from litert import Session
from networks import labels, randomise_branches
from step_by_step import RATE, step_differences
from text_table import table
from tqdm import tqdm
from zoo_models import ZOO, ZooModel

import tflite_export
import tinytl_keras
from tflite_export import flatbuffer
from tflite_export.arena import plan
from tflite_export.lowering import input_names
from tinytl_keras._keras_compat import layers_within

FLAGS = flags.FLAGS
flags.DEFINE_string("filter", "", "Only rows in whose names every one of these is a word, as in 'MobileNet bias'.")
flags.DEFINE_integer("size", 96, "Rows and columns of the images.")
flags.DEFINE_integer("batch_size", 1, "Rows of a training step.", lower_bound=1)
flags.DEFINE_enum("kernels", "xnnpack", ["xnnpack", "builtin"], "LiteRT's kernel set.")
flags.DEFINE_float("tolerance", 1e-3, "Largest difference of an update that passes.")
flags.DEFINE_integer("seed", 0, "Of weights, images and labels.")
flags.DEFINE_string("results", "out/zoo.json", "File of the finished rows.")
METHODS = ("bias", "lite_residual+bias", "full")
STEPS = 3

VERDICTS = TRAINS, BY_STEP, EXPLAINED, FAIL = "trains", "by step", "explained", "FAIL"

_PACKAGES = ("ai-edge-litert", "keras", "keras-cv", "numpy", "tensorflow")
_HOUSE = Path(__file__).resolve().parent.parent
_OURS = tuple(str(_HOUSE / package) + os.sep for package in ("tflite_export", "tinytl_keras"))
_NOISY_RUNS, _DRAWS = 4, 6  # a deep network's step takes a second
# So large that float32's rounding of a weight is small beside its update; less where the loss explodes.
_RATES, _RATES_OF_FULL = (0.1, 0.01, 1e-3, 1e-4, 1e-5), (0.02, 2e-3, 2e-4, 2e-5)


@dataclasses.dataclass(frozen=True)
class Row:
    """`reason` is why there is no figure; `warnings` are those of `convert`."""

    model: str
    method: str
    verdict: str
    seconds: float
    reason: str = ""
    warnings: tuple[str, ...] = ()
    branches: int | None = None
    operators: int | None = None
    learning_rate: float | None = None
    worst: float | None = None
    worst_variable: str = ""
    median: float | None = None
    still: int | None = None
    worst_step: float | None = None
    sensitivity: float | None = None
    train_bytes: int | None = None
    infer_bytes: int | None = None
    stock_bytes: int | None = None
    growth_bytes: int | None = None


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    words = FLAGS.filter.split()
    cases = [case for case in itertools.product(ZOO, METHODS) if set(words) <= set(" ".join(case).split())]
    if not cases:
        raise app.UsageError(f"--filter={FLAGS.filter!r} leaves no row")
    kept = KeptRows(Path(FLAGS.results), digest_of_program(_PACKAGES))
    for case in tqdm(cases, desc="rows"):
        if key_of(*case) not in kept:
            kept.keep(key_of(*case), dataclasses.asdict(in_own_process(measured, *case)))
    rows = [Row(**kept[key_of(*case)]) for case in cases]
    settings = f"size {FLAGS.size}, batch {FLAGS.batch_size}, {FLAGS.kernels}, {STEPS} steps of SGD, seed {FLAGS.seed}"
    print(f"\n{settings}; trains at {FLAGS.tolerance:.0e}\n\n{report(rows)}")
    for row in rows:
        for text in (*row.warnings, *filter(None, [row.reason])):
            print(f"\n{row.model}, {row.method}: {text}")
    counts = Counter(row.verdict for row in rows)
    print("\n" + ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS))
    return 1 if counts[FAIL] else 0


def in_own_process(function: Callable, *arguments):
    """What `function` returns in a process that ends with it; one that stays keeps memory of every model."""
    with ProcessPoolExecutor(1, get_context("spawn"), app.parse_flags_with_usage, (sys.argv,)) as pool:
        return pool.submit(function, *arguments).result()


def key_of(model: str, method: str) -> str:
    """The row and the settings that it depends on."""
    names = ("size", "batch_size", "kernels", "seed", "tolerance")
    return " ".join([model, method, *(f"{name}={FLAGS[name].value}" for name in names)])


def measured(name: str, method: str) -> Row:
    """The row of one model; an error becomes its verdict."""
    start = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            row = measure(name, method)
        except Exception as error:  # a row of the table, and the exit status
            verdict = EXPLAINED if is_explained(error) else FAIL
            row = Row(name, method, verdict, 0, "".join(traceback.format_exception_only(error)).strip())
    own = [str(w.message) for w in caught if w.category is UserWarning and "lite residual branch" in str(w.message)]
    return dataclasses.replace(row, warnings=tuple(own), seconds=time.perf_counter() - start)


def is_explained(error: Exception) -> bool:
    """Whether `error` is a refusal that this project raises itself, on purpose."""
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    return isinstance(error, (TypeError, ValueError)) and raised_in.startswith(_OURS)


def measure(name: str, method: str) -> Row:
    """Raises what `convert`, `export` and LiteRT raise."""
    entry = ZOO[name]
    model = converted(entry, method)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        exported = tflite_export.export(
            model,
            path,
            batch_size=FLAGS.batch_size,
            infer_batch_size=FLAGS.batch_size,
            loss=entry.loss,
            kernels=FLAGS.kernels,
            verify=False,  # the comparison here is stricter than the exporter's own
        )
        training = keras_training(entry, model)
        rate, reference = calmest(training, _RATES_OF_FULL if method == "full" else _RATES)
        expected, before = reference.after, reference.before
        session = ModelSession(path, model)
        for x, y in reference.batches:
            session.train(x, y, rate)
        differences = training_differences("SGD", before, session.save(), expected)
        single_steps = training.single_steps("SGD", RATE, reference.starts)
        another = training.another_step("SGD", RATE, FLAGS.seed)
        steps = step_differences(session, "SGD", reference, single_steps, another, FLAGS.tolerance)
        worst, worst_step = worst_of(differences), steps[worst_of(steps)]
        moved = [name for name in differences if not np.array_equal(before[name], expected[name])]
        infer = next(graph for graph in flatbuffer.read(path).signatures if graph.name == "infer")
        return Row(
            model=name,
            method=method,
            verdict=verdict_of(differences[worst], worst_step),
            seconds=0,
            branches=sum(isinstance(layer, tinytl_keras.layers.LiteResidual) for layer in layers_within(model)),
            operators=sum(exported.ops["train"].values()),
            learning_rate=rate,
            worst=differences[worst],
            worst_variable=worst,
            median=float(np.median([differences[name] for name in moved])),
            still=len(differences) - len(moved),
            worst_step=worst_step,
            sensitivity=reference.sensitivity,
            train_bytes=exported.train_arena_bytes,
            infer_bytes=plan(infer).total_bytes,
            stock_bytes=exported.infer_arena_bytes,
            growth_bytes=growth(path, FLAGS.kernels, {"train": 1}),
        )


def verdict_of(worst: float, worst_step: float) -> str:
    """A NaN fails."""
    if worst <= FLAGS.tolerance:
        return TRAINS
    return BY_STEP if worst_step <= FLAGS.tolerance else FAIL


def converted(entry: ZooModel, method: str) -> keras.Model:
    """With the same weights every time, and branches whose last gamma is not 0, which would hide their gradients."""
    keras.utils.set_random_seed(FLAGS.seed)
    rng = np.random.default_rng(FLAGS.seed)
    model = tinytl_keras.convert(entry.build(FLAGS.size), method, num_classes=entry.classes)
    randomise_branches(model, rng)
    calm(model, rng, entry.pixels)
    return model


def keras_training(entry: ZooModel, model: keras.Model) -> KerasTraining:
    outputs = {name: tensor.shape[1:] for name, tensor in zip(model.output_names, model.outputs)}
    kinds = entry.loss if not isinstance(entry.loss, str) else dict.fromkeys(outputs, entry.loss)

    def draw(rng: np.random.Generator) -> tuple:
        x = random_inputs(model, rng, FLAGS.batch_size, entry.pixels)
        y = [targets(kinds[name], shape, rng) for name, shape in outputs.items()]
        return tuple(x) if len(x) > 1 else x[0], tuple(y)

    def loss_of(y, predicted):
        predicted = keras.tree.flatten(predicted)
        return sum(_loss(kinds[name], *pair) for name, *pair in zip(outputs, y, predicted))

    return KerasTraining(
        model,
        FLAGS.batch_size,
        draw=draw,
        loss_of=loss_of,
        deviation=PIXEL_DEVIATION if entry.pixels else 1.0,
        noisy_steps=_NOISY_RUNS,
        noisy_runs=_NOISY_RUNS,
        draws=_DRAWS,
        runs=1,
    )


def calmest(training: KerasTraining, rates: Sequence[float]) -> tuple[float, Reference]:
    """The first of `rates` with which Keras agrees with itself, and that run; where there is none, the best of all."""
    best = None
    for rate in rates:
        reference = training.reference("SGD", rate, steps=STEPS, seed=FLAGS.seed + 1, tolerance=FLAGS.tolerance / 5)
        if best is None or reference.sensitivity < best[1].sensitivity:
            best = rate, reference
        if reference.sensitivity <= FLAGS.tolerance:
            break
    return best


def targets(loss: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if loss == "mean_squared_error":
        return rng.normal(size=(FLAGS.batch_size, *shape)).astype(np.float32)
    return labels(rng, FLAGS.batch_size)


def _loss(kind: str, y, predicted):
    if kind == "mean_squared_error":
        return keras.ops.mean(keras.losses.mean_squared_error(y, predicted))
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, predicted, from_logits=True))


class ModelSession(Session):
    """The file of `model`, fed batches of KerasTraining: tuples where there are several inputs, and of labels."""

    def __init__(self, path: Path, model: keras.Model):
        super().__init__(str(path), FLAGS.kernels)
        self.inputs, self.targets = input_names(model), target_names(model)

    def train(self, x, y, learning_rate: float) -> None:
        inputs = dict(zip(self.inputs, x if isinstance(x, tuple) else (x,), strict=True))
        labelled = dict(zip(self.targets, y, strict=True))
        self.run("train", **inputs, **labelled, learning_rate=np.array([learning_rate], np.float32))


def target_names(model: keras.Model) -> list[str]:
    """Those of the training step's inputs that hold labels."""
    return ["y"] if len(model.outputs) == 1 else [f"y_{name}" for name in model.output_names]


def report(rows: list[Row]) -> str:
    counts, differences = ("branches", "ops"), ("worst", "median", "still", "a step", "Keras")
    head = ("model", "method", *counts, *differences, "train MB", "infer", "stock", "growth", "verdict", "seconds", "")
    body = [
        (
            row.model,
            row.method,
            *map(_count, (row.branches, row.operators)),
            *map(_difference, (row.worst, row.median)),
            _count(row.still),
            *map(_difference, (row.worst_step, row.sensitivity)),
            *map(_megabytes, (row.train_bytes, row.infer_bytes, row.stock_bytes, row.growth_bytes)),
            row.verdict,
            f"{row.seconds:.0f}",
            row.worst_variable if row.verdict == FAIL else "",
        )
        for row in rows
    ]
    return table(head, body, left=2)


def _count(value: int | None) -> str:
    return "–" if value is None else str(value)


def _difference(value: float | None) -> str:
    return "–" if value is None else f"{value:.1e}"


def _megabytes(value: int | None) -> str:
    return "–" if value is None else f"{value / 1e6:.2f}"


if __name__ == "__main__":
    app.run(main)
