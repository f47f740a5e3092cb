"""The paper's training run: a pretrained network learns a data set by one of six methods.

    python examples/finetune.py --dataset=tfds:oxford_flowers102 --download --model=MobileNetV2
    python examples/finetune.py --dataset=my_images/ --method=bias --epochs=10 --export=out/model.tflite

Learning rate, label smoothing, colour jitter and epochs are the paper's for the data set (`tinytl_keras.data.RECIPES`).
In the folder --out: `metrics.csv`, a row per epoch with the learning rate at its start, and `checkpoint.keras`, from
which --resume goes on as if the run had never stopped (but for --augment: the random numbers of keras-cv go on anew).
"""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags

import tflite_export
import tinytl_keras
from tinytl_keras import data

FLAGS = flags.FLAGS
flags.DEFINE_string("dataset", "tfds:oxford_flowers102", "tfds:<name>, or a folder with one subfolder per class.")
flags.DEFINE_string("data_dir", None, "Where tensorflow-datasets keeps its data; None: ~/tensorflow_datasets.")
flags.DEFINE_bool("download", False, "Let tensorflow-datasets download what is missing.")
flags.DEFINE_string("recipe", None, f"Settings of another data set: {', '.join(data.RECIPES)}. None: its own.")
flags.DEFINE_string("augment", None, "Augmentation beyond the recipe, by keras-cv: rand_augment, aug_mix, ….")
flags.DEFINE_string("model", "proxyless_mobile", "Name in keras.applications, proxyless_mobile, or a .keras file.")
flags.DEFINE_string(
    "weights", "default", "default: ImageNet for keras.applications, random for proxyless_mobile; random; or a file."
)
flags.DEFINE_integer("image_size", 224, "Pixels.", lower_bound=1)
flags.DEFINE_float("input_scale", 1 / 127.5, "Pixel * scale + offset is the input of proxyless_mobile or a file.")
flags.DEFINE_float("input_offset", -1.0, "See --input_scale.")
flags.DEFINE_enum("method", "lite_residual+bias", tinytl_keras.METHODS, "What trains beside the head.")
flags.DEFINE_float("head_dropout", 0.2, "Dropout before the head.", lower_bound=0)
flags.DEFINE_integer("epochs", None, "None: the recipe's.", lower_bound=1)
flags.DEFINE_integer("batch_size", 8, "Images per step, of all replicas together.", lower_bound=1)
flags.DEFINE_float("learning_rate", None, "Start of the cosine; None: the recipe's, which is for batches of 8.")
flags.DEFINE_float("label_smoothing", None, "None: the recipe's.", lower_bound=0, upper_bound=1)
flags.DEFINE_integer("seed", 0, "Of the head, the branches, the order of the images and their crops.")
flags.DEFINE_enum("strategy", "none", ["none", "mirrored"], "tf.distribute: one device, or all of this machine.")
flags.DEFINE_string("out", "out/finetune", "Folder for metrics.csv, checkpoint.keras and settings.json.")
flags.DEFINE_bool("resume", False, "Go on from the checkpoint in --out.")
flags.DEFINE_string("export", None, "Writes a .tflite at the end that goes on learning on a device.")

SETTINGS = (
    *("dataset", "recipe", "augment", "model", "weights", "image_size", "input_scale", "input_offset", "method"),
    *("head_dropout", "epochs", "batch_size", "learning_rate", "label_smoothing", "seed"),
)  # what a resumed run must have in common with the run that it goes on with
COLUMNS = ("epoch", "learning_rate", "loss", "accuracy", "test_loss", "test_accuracy", "seconds")


@dataclasses.dataclass(frozen=True)
class Network:
    """A network before conversion. `scaling` is (scale, offset) if that is all that `preprocess` does, else None."""

    build: Callable[[], keras.Model]
    preprocess: Callable[[tf.Tensor], tf.Tensor]
    scaling: tuple[float, float] | None


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}.")
    out = Path(FLAGS.out)
    try:
        network = find_network()
        settle(out)
        images = data.load(
            FLAGS.dataset,
            image_size=FLAGS.image_size,
            batch_size=FLAGS.batch_size,
            recipe=FLAGS.recipe,
            augment=FLAGS.augment,
            preprocess=network.preprocess,
            data_dir=FLAGS.data_dir,
            download=FLAGS.download,
            seed=FLAGS.seed,
        )
    except (OSError, ValueError, ImportError) as error:
        raise SystemExit(f"finetune: {error}") from error
    keras.utils.set_random_seed(FLAGS.seed)
    recipe = images.recipe
    epochs = FLAGS.epochs or recipe.epochs
    smoothing = recipe.label_smoothing if FLAGS.label_smoothing is None else FLAGS.label_smoothing
    rate = recipe.learning_rate if FLAGS.learning_rate is None else FLAGS.learning_rate
    checkpoint = out / "checkpoint.keras"
    strategy = tf.distribute.MirroredStrategy() if FLAGS.strategy == "mirrored" else tf.distribute.get_strategy()
    with strategy.scope():
        if FLAGS.resume:
            model = keras.models.load_model(checkpoint)
        else:
            model = tinytl_keras.convert(
                network.build(), FLAGS.method, num_classes=images.num_classes, head_dropout=FLAGS.head_dropout
            )
            cosine = keras.optimizers.schedules.CosineDecay(rate, epochs * images.steps_per_epoch)
            loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
            model.compile(keras.optimizers.Adam(cosine, 0.9, 0.999, 1e-8), loss, metrics=["accuracy"])
    done = int(keras.ops.convert_to_numpy(model.optimizer.iterations)) // images.steps_per_epoch
    sizes, summary = images.sizes, tinytl_keras.summary(model)
    print(f"{images.name}: {images.num_classes} classes, {sizes.train:,} training and {sizes.test:,} test images")
    print(
        f"{FLAGS.method}: {summary.trainable_parameters:,} parameters train, {summary.frozen_parameters:,} are frozen; "
        f"learning rate {rate:g}, label smoothing {smoothing:g}, epochs {done + 1} to {epochs}"
    )

    def one_hot(x, y):
        return x, tf.one_hot(y, images.num_classes)

    model.fit(
        images.train_from(done).map(one_hot),
        steps_per_epoch=images.steps_per_epoch,
        epochs=epochs,
        initial_epoch=done,
        validation_data=images.test.map(one_hot),
        callbacks=[DropoutSeeds(images.steps_per_epoch), Recorder(out / "metrics.csv", checkpoint, done)],
        shuffle=False,  # the batches are shuffled already
    )
    loss, accuracy = model.evaluate(images.test.map(one_hot), verbose=0)
    print(f"Test: top-1 {accuracy:.1%}, loss {loss:.4f}   Metrics: {out / 'metrics.csv'}   Model: {checkpoint}")
    if FLAGS.export:
        export(model, network, images.class_names, smoothing)


def find_network() -> Network:
    """The network of --model, its weights, and what it does to pixels.

    Raises:
        ValueError: There is no such network, or --export was asked of one whose pixels the file cannot describe.
    """
    shape = (FLAGS.image_size, FLAGS.image_size, 3)
    scale, offset = FLAGS.input_scale, FLAGS.input_offset
    file = FLAGS.weights if FLAGS.weights not in ("default", "random") else None

    def build():
        if FLAGS.model.endswith(".keras"):
            model = keras.models.load_model(FLAGS.model, compile=False)
        elif FLAGS.model == "proxyless_mobile":
            model = tinytl_keras.backbones.ProxylessNASMobile(shape, norm="group")
        else:
            weights = "imagenet" if FLAGS.weights == "default" else None
            model = make(include_top=False, weights=weights, input_shape=shape, pooling="avg")
        if file:
            model.load_weights(file)
        return model

    if FLAGS.model == "proxyless_mobile" or FLAGS.model.endswith(".keras"):
        return Network(build, lambda x: x * scale + offset, (scale, offset))
    make = getattr(keras.applications, FLAGS.model, None)
    if not isinstance(make, Callable) or FLAGS.model.startswith("_"):
        names = [name for name in dir(keras.applications) if name[0].isupper()]
        raise ValueError(
            f"--model must be proxyless_mobile, a .keras file or one of {', '.join(names)}. Received: {FLAGS.model}"
        )
    preprocess = importlib.import_module(make.__module__).preprocess_input
    ends = [preprocess(np.full((1, 1, 3), value, np.float32)).ravel() for value in (0, 255)]
    channels_alike = all(len(set(np.round(end, 6))) == 1 for end in ends)
    scaling = (float(ends[1][0] - ends[0][0]) / 255, float(ends[0][0])) if channels_alike else None
    if FLAGS.export and scaling is None:
        raise ValueError(
            f"--export: {FLAGS.model} treats its channels differently, which the file's input_scale and input_offset "
            "cannot say. Choose one that does not, such as MobileNetV2, or train without --export."
        )
    return Network(build, preprocess, scaling)


def settle(out: Path):
    """Writes down the settings of a new run, or checks that a resumed one has the same.

    Raises:
        FileNotFoundError: --resume, and there is nothing to go on with.
        FileExistsError: There is a run in `out`, and --resume is not given.
        ValueError: The resumed run has other settings.
    """
    mine = {name: FLAGS[name].value for name in SETTINGS}
    checkpoint, file = out / "checkpoint.keras", out / "settings.json"
    if FLAGS.resume:
        if not checkpoint.exists():
            raise FileNotFoundError(f"--resume: there is no {checkpoint}.")
        theirs = json.loads(file.read_text())
        different = [f"--{name}={theirs[name]} then, {mine[name]} now" for name in mine if theirs[name] != mine[name]]
        if different:
            raise ValueError(f"--resume: the settings differ from those in {file}: {'; '.join(different)}.")
        return
    if checkpoint.exists():
        raise FileExistsError(f"There is a run in {out}: go on with it by --resume, or give another --out.")
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mine, indent=2) + "\n")


class DropoutSeeds(keras.callbacks.Callback):
    """Starts every epoch's dropout from the seed and the epoch alone, since .keras files do not hold its state."""

    def __init__(self, steps: int):
        super().__init__()
        self._steps = steps

    def on_epoch_begin(self, epoch, logs=None):
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for index, state in enumerate(states):
            state.assign([FLAGS.seed + index, epoch * self._steps])


class Recorder(keras.callbacks.Callback):
    """After every epoch, writes a row of metrics and the whole state of the run: weights, optimizer, dropout."""

    def __init__(self, metrics: Path, checkpoint: Path, done: int):
        super().__init__()
        self._metrics, self._checkpoint = metrics, checkpoint
        # A run may be killed between its row and its checkpoint: then the epoch is done again.
        rows = list(csv.reader(metrics.read_text().splitlines()))[1 : done + 1] if done else []
        self._write([COLUMNS, *rows], "w")

    def on_epoch_begin(self, epoch, logs=None):
        self._start = time.perf_counter()
        self._rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch, logs=None):
        metrics = [logs[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")]
        seconds = time.perf_counter() - self._start
        self._write([(epoch + 1, f"{self._rate:.6g}", *(f"{value:.6f}" for value in metrics), f"{seconds:.1f}")], "a")
        fresh = self._checkpoint.with_name("writing.keras")
        self.model.save(fresh)
        os.replace(fresh, self._checkpoint)

    def _write(self, rows, mode: str):
        with self._metrics.open(mode, newline="") as file:
            csv.writer(file).writerows(rows)


def export(model: keras.Model, network: Network, class_names: tuple[str, ...], smoothing: float):
    """Writes --export, for the same batches and the same Adam."""
    Path(FLAGS.export).parent.mkdir(parents=True, exist_ok=True)
    scale, offset = network.scaling
    report = tflite_export.export(
        model,
        FLAGS.export,
        batch_size=FLAGS.batch_size,
        optimizer=tflite_export.Adam(epsilon=1e-8),
        label_smoothing=smoothing,
        class_names=class_names,
        input_scale=scale,
        input_offset=offset,
    )
    print(report)


if __name__ == "__main__":
    app.run(main)
