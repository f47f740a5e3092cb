"""What each method learns: an ImageNet network of 0.3 width on photographs of hand signs.

Every method trains from the same pretrained weights on the same half of the pictures and is tested on the other half,
three times, with paired seeds: of one seed, all methods see the samples in the same order and start from the same head.
The last row trains *the exported file* in LiteRT, on the same batches at the same rates as its Keras twin.

Runs are kept in --results as they finish; started again, the benchmark goes on with what is missing.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import app, flags
from PIL import Image
from text_table import table
from tqdm import tqdm

import tflite_export
import tinytl_keras
from tflite_export.runtime import OnDeviceModel, cosine

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "../shared/models/proxyless_w03_imagenet_128.keras", "The pretrained Keras model.")
flags.DEFINE_string("data", "../shared/data/sign-digits", "A folder with one folder of pictures per class.")
flags.DEFINE_integer("epochs", 20, "Passes over the training half.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Rows per step.", lower_bound=1)
flags.DEFINE_multi_integer("seed", [0, 1, 2], "Of heads, branches and sample order; one run each.")
flags.DEFINE_list("methods", [], "Only these; all by default.")
flags.DEFINE_string("results", "out/transfer_accuracy.json", "Where finished runs are kept.")

# Peak learning rates of Adam under a cosine, after a first look at a few epochs each.
RATES = {"last": 1e-2, "bias": 3e-3, "lite_residual": 3e-3, "lite_residual+bias": 3e-3, "full": 3e-4}
ON_DEVICE = "lite_residual+bias in LiteRT"


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    results = Path(FLAGS.results)
    results.parent.mkdir(parents=True, exist_ok=True)
    runs = json.loads(results.read_text()) if results.exists() else {}
    size = keras.models.load_model(FLAGS.model).input_shape[1]
    train, test = halves(*photographs(Path(FLAGS.data), size))
    wanted = [(method, seed) for method in (FLAGS.methods or [*RATES, ON_DEVICE]) for seed in FLAGS.seed]
    for method, seed in tqdm(wanted, desc="runs"):
        key = f"{method} seed={seed} epochs={FLAGS.epochs} batch={FLAGS.batch_size}"
        if key not in runs:
            learn = learn_on_device if method == ON_DEVICE else learn_in_keras
            runs[key] = {"method": method, "seed": seed, **learn(method, seed, train, test)}
            results.write_text(json.dumps(runs, indent=1))
    report([run for key, run in runs.items() if f"epochs={FLAGS.epochs} batch={FLAGS.batch_size}" in key])


def photographs(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [n, size, size, 3] in [-1, 1], as the network was trained, and their classes [n]."""
    x, y = [], []
    for label, subfolder in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(subfolder.glob("*.jpg")):
            with Image.open(path) as image:
                x.append(np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.float32))
            y.append(label)
    return np.stack(x) / 127.5 - 1, np.array(y, np.int32)


def halves(x: np.ndarray, y: np.ndarray):
    """The same two random halves every time."""
    order = np.random.default_rng(0).permutation(len(y))
    first, second = order[: len(y) // 2], order[len(y) // 2 :]
    return (x[first], y[first]), (x[second], y[second])


def converted(method: str, seed: int, classes: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    return tinytl_keras.convert(keras.models.load_model(FLAGS.model), method, num_classes=classes)


def learn_in_keras(method: str, seed: int, train, test) -> dict:
    model = converted(method, seed, int(train[1].max()) + 1)
    steps = FLAGS.epochs * -(-len(train[1]) // FLAGS.batch_size)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATES[method], steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    keras.utils.set_random_seed(seed)
    start = time.perf_counter()
    model.fit(*train, batch_size=FLAGS.batch_size, epochs=FLAGS.epochs, verbose=0)
    seconds = time.perf_counter() - start
    accuracy = model.evaluate(*test, batch_size=64, verbose=0)[1]
    summary = tinytl_keras.summary(model)
    return {"accuracy": accuracy, "trainable": summary.trainable_parameters, "seconds": seconds}


def learn_on_device(method: str, seed: int, train, test) -> dict:
    method = method.removesuffix(" in LiteRT")
    model = converted(method, seed, int(train[1].max()) + 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        tflite_export.export(
            model, path, batch_size=FLAGS.batch_size, infer_batch_size=64, optimizer="adam", verify=False
        )
        on_device = OnDeviceModel(path)
        start = time.perf_counter()
        on_device.fit(*train, epochs=FLAGS.epochs, learning_rate=cosine(RATES[method]), seed=seed, verbose=False)
        seconds = time.perf_counter() - start
        accuracy = on_device.evaluate(*test).accuracy
    return {
        "accuracy": accuracy,
        "trainable": tinytl_keras.summary(model).trainable_parameters,
        "seconds": seconds,
    }


def report(runs: list[dict]) -> None:
    rows = []
    for method in (*RATES, ON_DEVICE):
        found = [run for run in runs if run["method"] == method]
        if found:
            accuracies = [100 * run["accuracy"] for run in found]
            spread = max(accuracies) - min(accuracies)
            rows.append(
                [
                    method,
                    f"{np.mean(accuracies):.1f}",
                    f"{spread:.1f}",
                    str(len(found)),
                    f"{found[0]['trainable']:,}",
                    f"{np.mean([run['seconds'] for run in found]):.0f}",
                ]
            )
    print(table(["method", "test accuracy %", "spread", "seeds", "trainable", "seconds"], rows))


if __name__ == "__main__":
    app.run(main)
