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
from pretrained import network_and_halves
from transfer_accuracy import finished, learn_in_keras, report, settings

import tflite_export
from tflite_export.runtime import OnDeviceModel, cosine

FLAGS = flags.FLAGS
flags.DEFINE_list("files", ["float32", "dynamic range", "int8"], "Which files learn.")
flags.DEFINE_bool("keras", True, "Whether the Keras model learns too.")
FLAGS.set_default("results", "out/make_trainable.json")
FLAGS.set_default("methods", ["bias"])

KERAS = "Keras"
_CALIBRATED_ON = 100  # pictures


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    with tempfile.TemporaryDirectory() as folder:
        model, (train, test) = network_and_halves()
        paths = inference_files(model, train[0][:_CALIBRATED_ON], Path(folder))

        def learn(run: dict) -> dict:
            given = run["method"], run["rate"], run["seed"], train, test
            source = run["source"]
            return learn_in_keras(*given) if source == KERAS else learn_from_file(paths[source], *given)

        sources = [*([KERAS] if FLAGS.keras else []), *paths]
        wanted = [(method, seed, source) for method in FLAGS.methods for source in sources for seed in FLAGS.seed]
        runs = finished([settings(method, seed, source=source) for method, seed, source in wanted], learn)
    report([run | {"method": f"{run['method']}, {run['source']}"} for run in runs])


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
