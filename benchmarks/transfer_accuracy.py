"""What each method learns: an ImageNet network of 0.3 width on photographs of hand signs.

Every method trains from the same pretrained weights on the same half of the pictures and is tested on the other half,
three times, with paired seeds: of one seed, all methods see the same batches in the same order.
The last row trains *the exported file* in LiteRT: its initial values, batches and rates are those of its Keras twin.

--tune stays within the training half: two thirds of it to learn from, the last third to be tested on. RATES were chosen
so, with --learning_rate. Runs are kept in --results as they finish; started again, the benchmark goes on with what is
missing. A changed program starts anew.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import app, flags
from kept_rows import KeptRows, digest_of_program
from photographs import photographs, scaled
from text_table import table
from tqdm import tqdm

import tflite_export
import tinytl_keras
from tflite_export.runtime import OnDeviceModel, cosine
from tflite_export.runtime.batches import epoch_order

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "../shared/models/proxyless_w03_imagenet_128.keras", "The pretrained Keras model.")
flags.DEFINE_string("data", "../shared/data/sign-digits", "A folder with one folder of pictures per class.")
flags.DEFINE_integer("epochs", 10, "Passes over the training half.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Rows per step.", lower_bound=1)
flags.DEFINE_multi_integer("seed", [0, 1, 2], "Of heads, branches and sample order; one run each.")
flags.DEFINE_list("methods", [], "Only these; all by default.")
flags.DEFINE_float("learning_rate", None, "Peak of the cosine; None: the method's own, in RATES.", lower_bound=0)
flags.DEFINE_bool("tune", False, "Leave the test half alone: hold out a third of the training half instead.")
flags.DEFINE_string("results", "out/transfer_accuracy.json", "Where finished runs are kept.")

# Peak learning rates of Adam under a cosine; docs/accuracy.md has what others give.
RATES = {"last": 1e-2, "bias": 3e-3, "lite_residual": 3e-3, "lite_residual+bias": 3e-3, "full": 3e-4}
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "pillow", "tensorflow")
IN_LITERT = " in LiteRT"
ON_DEVICE = "lite_residual+bias" + IN_LITERT


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    halves_of_pictures = halves(size_of_model())

    def learn(run: dict) -> dict:
        learn = learn_on_device if run["method"] == ON_DEVICE else learn_in_keras
        return learn(run["method"].removesuffix(IN_LITERT), run["rate"], run["seed"], *halves_of_pictures)

    methods = FLAGS.methods or [*RATES, ON_DEVICE]
    report(finished([settings(method, seed) for method in methods for seed in FLAGS.seed], learn))


def settings(method: str, seed: int, **more) -> dict:
    """All that the outcome of a run depends on, beside the program: the arguments and the flags."""
    rate = RATES[method.removesuffix(IN_LITERT)] if FLAGS.learning_rate is None else FLAGS.learning_rate
    given = {"epochs": FLAGS.epochs, "batch": FLAGS.batch_size, "tune": FLAGS.tune}
    return {"method": method, "seed": seed, **more, "rate": rate, **given, "model": FLAGS.model, "data": FLAGS.data}


def finished(wanted: Sequence[dict], learn: Callable[[dict], dict]) -> list[dict]:
    """The `settings` of every run with what `learn` makes of them; from --results where that is there already."""
    kept, keys = KeptRows(Path(FLAGS.results), digest_of_program(_PACKAGES)), []
    for run in tqdm(wanted, desc="runs"):
        keys.append(" ".join(f"{name}={value}" for name, value in run.items()))
        if keys[-1] not in kept:
            kept.keep(keys[-1], run | learn(run))
    return [kept[key] for key in keys]


def size_of_model() -> int:
    """Rows and columns of the images of --model."""
    return keras.models.load_model(FLAGS.model).input_shape[1]


def halves(size: int):
    """Pictures [n, size, size, 3] in [-1, 1] and classes [n], to learn from and to be tested on.

    The same two random halves every time; with --tune, two thirds and one third of the first.
    """
    x, y = photographs(Path(FLAGS.data), size)
    x = scaled(x)
    order = np.random.default_rng(0).permutation(len(y))
    first, second = order[: len(y) // 2], order[len(y) // 2 :]
    if FLAGS.tune:
        first, second = first[: len(first) * 2 // 3], first[len(first) * 2 // 3 :]
    return (x[first], y[first]), (x[second], y[second])


def converted(method: str, seed: int, classes: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return tinytl_keras.convert(keras.models.load_model(FLAGS.model), method, num_classes=classes)


def learn_in_keras(method: str, rate: float, seed: int, train, test) -> dict:
    x, y = train
    model = converted(method, seed, int(y.max()) + 1)
    steps = FLAGS.epochs * -(-len(y) // FLAGS.batch_size)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    start = time.perf_counter()
    for epoch in range(FLAGS.epochs):
        order = epoch_order(len(y), shuffle=True, seed=seed, epoch=epoch)  # as OnDeviceModel.fit visits them
        model.fit(x[order], y[order], batch_size=FLAGS.batch_size, shuffle=False, verbose=0)
    seconds = time.perf_counter() - start
    loss, accuracy = model.evaluate(*test, batch_size=64, verbose=0)
    return outcome(model, accuracy, loss, seconds)


def learn_on_device(method: str, rate: float, seed: int, train, test, **options) -> dict:
    """`options`: of `export`."""
    model = converted(method, seed, int(train[1].max()) + 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        tflite_export.export(
            model,
            path,
            batch_size=FLAGS.batch_size,
            infer_batch_size=64,
            optimizer="adam",
            verify=False,
            **options,
        )
        on_device = OnDeviceModel(path)
        start = time.perf_counter()
        on_device.fit(*train, epochs=FLAGS.epochs, learning_rate=cosine(rate), seed=seed, verbose=False)
        seconds = time.perf_counter() - start
        result = on_device.evaluate(*test)
    return outcome(model, result.accuracy, result.loss, seconds)


def outcome(model: keras.Model, accuracy: float, loss: float, seconds: float) -> dict:
    trainable = tinytl_keras.summary(model).trainable_parameters
    return {"accuracy": accuracy, "loss": loss, "trainable": trainable, "seconds": seconds}


def report(runs: list[dict]) -> None:
    rows = []
    for method in dict.fromkeys(run["method"] for run in runs):
        found = [run for run in runs if run["method"] == method]
        accuracies = [100 * run["accuracy"] for run in found]
        rows.append(
            [
                method,
                f"{found[0]['rate']:g}",
                f"{np.mean(accuracies):.2f}",
                f"{min(accuracies):.1f} to {max(accuracies):.1f}",
                f"{np.mean([run['loss'] for run in found]):.3f}",
                f"{found[0]['trainable']:,}",
                f"{np.mean([run['seconds'] for run in found]):.0f}",
            ]
        )
    print(table(["method", "rate", "accuracy %", "spread", "loss", "trainable", "seconds"], rows))


if __name__ == "__main__":
    app.run(main)
