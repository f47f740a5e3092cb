"""What a bare .tflite learns: files that only inferred, made trainable without Keras, beside the Keras model itself.

A pretrained network is converted by TensorFlow's own converter to a float32, a dynamic-range and a fully int8 file,
calibrated on pictures of the training half. `tflite_export.make_trainable` gives each a new head; the written file
learns in LiteRT what Keras learns, on the same halves, with the same rates, batches and order of samples. Heads start
from other random numbers.

--network is one of pretrained.py, which knows five of the ten signs when it starts, or "imagenet": that of
transfer_accuracy.py's --model. The other flags are those of transfer_accuracy.py: --epochs, --batch_size, --seed,
--tune, …; --methods names make_trainable's. Runs are kept in --results as they finish; a changed program starts anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from kept_rows import KeptRows, digest_of_program
from pretrained import NAMES, pretrained, size_of
from tqdm import tqdm
from transfer_accuracy import RATES, halves, learn_in_keras, report

import tflite_export
from tflite_export.runtime import OnDeviceModel, cosine

FLAGS = flags.FLAGS
flags.DEFINE_enum("network", NAMES[0], [*NAMES, "imagenet"], "What the files are made of.")
flags.DEFINE_integer("pretraining_epochs", 30, "Of a network that knows five signs.", lower_bound=1)
flags.DEFINE_list("files", ["float32", "dynamic range", "int8"], "Which files learn.")
flags.DEFINE_bool("keras", True, "Whether the Keras model learns too.")
FLAGS.set_default("results", "out/make_trainable.json")
FLAGS.set_default("methods", ["bias"])

_CALIBRATED_ON = 100  # pictures
_PACKAGES = ("ai-edge-litert", "keras", "numpy", "pillow", "tensorflow")


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    kept = KeptRows(Path(FLAGS.results), digest_of_program(_PACKAGES))
    with tempfile.TemporaryDirectory() as folder:
        model, (train, test) = network_and_halves()
        paths = inference_files(model, train[0][:_CALIBRATED_ON], Path(folder))
        sources = [*(["Keras"] if FLAGS.keras else []), *paths]
        wanted = [(source, method, seed) for method in FLAGS.methods for source in sources for seed in FLAGS.seed]
        keys = []
        for source, method, seed in tqdm(wanted, desc="runs"):
            rate = RATES[method] if FLAGS.learning_rate is None else FLAGS.learning_rate
            settings = {"method": f"{method}, {source}", "seed": seed, "rate": rate, "epochs": FLAGS.epochs}
            settings |= {"batch": FLAGS.batch_size, "tune": FLAGS.tune, "network": FLAGS.network}
            settings |= {"pretraining": FLAGS.pretraining_epochs, "data": FLAGS.data}
            keys.append(" ".join(f"{name}={value}" for name, value in settings.items()))
            if keys[-1] in kept:
                continue
            if source == "Keras":
                outcome = learn_in_keras(method, rate, seed, train, test)
            else:
                outcome = learn_from_file(paths[source], method, rate, seed, train, test)
            kept.keep(keys[-1], settings | outcome)
    report([kept[key] for key in keys])


def network_and_halves():
    """The model, which --model names from now on, and the pictures to learn from and to be tested on, in its size."""
    if FLAGS.network == "imagenet":
        model = keras.models.load_model(FLAGS.model)
        return model, halves(model.input_shape[1])
    train, test = halves(size_of(FLAGS.network))
    kept = Path(FLAGS.results).parent / f"{FLAGS.network}-{FLAGS.pretraining_epochs}{'-tune' * FLAGS.tune}.keras"
    model = pretrained(FLAGS.network, *train, kept, FLAGS.pretraining_epochs)
    FLAGS.model = str(kept)
    return model, (train, test)


def inference_files(model: keras.Model, pictures: np.ndarray, folder: Path) -> dict[str, Path]:
    """The files that TensorFlow's converter makes of `model`, by kind."""
    paths = {}
    for kind in FLAGS.files:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if kind == "int8":
            converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        paths[kind] = folder / f"{kind}.tflite"
        with contextlib.redirect_stdout(io.StringIO()):  # Keras tells where it saved the model on the way
            paths[kind].write_bytes(converter.convert())
    return paths


def learn_from_file(file: Path, method: str, rate: float, seed: int, train, test) -> dict:
    path = file.with_suffix(".trainable.tflite")
    written = tflite_export.make_trainable(
        file, path, method=method, num_classes=int(train[1].max()) + 1, seed=seed, optimizer="adam",
        batch_size=FLAGS.batch_size, infer_batch_size=64, verify=False,
    )  # fmt: skip
    on_device = OnDeviceModel(path)
    start = time.perf_counter()
    on_device.fit(*train, epochs=FLAGS.epochs, learning_rate=cosine(rate), seed=seed, verbose=False)
    seconds = time.perf_counter() - start
    result = on_device.evaluate(*test)
    trainable = written.trainable_bytes // 4
    return {"accuracy": result.accuracy, "loss": result.loss, "trainable": trainable, "seconds": seconds}


if __name__ == "__main__":
    app.run(main)
