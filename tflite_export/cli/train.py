"""Trains a .tflite on a folder of images with one subfolder per class.

tinytl train model.tflite photos/ --epochs 5

The subfolders' names are the classes; new ones take spare outputs of the model. What is learned goes to a small file,
model.safetensors, from which the next run goes on; the .tflite itself never changes. Ctrl-C saves and stops, and the
same command then goes on as if it had not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from pathlib import Path

import numpy as np
from absl import flags
from tqdm.auto import tqdm

from tflite_export.cli import images, learned
from tflite_export.cli.failure import Failure, in_one_line
from tflite_export.cli.resident import resident_bytes
from tflite_export.cli.table import table
from tflite_export.runtime import OnDeviceModel, cosine
from tflite_export.runtime.image_folder import image_files
from tflite_export.runtime.interruption import uninterrupted

OPERANDS = ("model.tflite", "photos/")
FLAGS = flags.FlagValues()
flags.DEFINE_integer("epochs", 5, "Passes over the images.", lower_bound=1, flag_values=FLAGS)
learned.define_state(FLAGS)
flags.DEFINE_float(
    "learning_rate",
    None,
    "Its start; it falls to 0 by a cosine. Unless given, 0.05 with SGD, 0.001 with Adam.",
    lower_bound=0.0,
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "validation",
    0.0,
    "Part of each class that is held out; the epoch that is best on it is kept.",
    lower_bound=0.0,
    upper_bound=0.9,
    flag_values=FLAGS,
)
flags.DEFINE_integer("batch_size", None, "Images per step; the file's, unless given.", lower_bound=1, flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of the images' order.", lower_bound=0, flag_values=FLAGS)
flags.DEFINE_integer("keep", 2, "States on the disk: model.safetensors, model.1.safetensors, ….", 1, flag_values=FLAGS)
flags.DEFINE_float("save_every", 30.0, "Seconds between saves while training.", lower_bound=0, flag_values=FLAGS)
learned.define_images(FLAGS)


@dataclasses.dataclass(frozen=True)
class Samples:
    """Images uint8 [n, height, width, channels] and their classes int32 [n]."""

    images: np.ndarray
    labels: np.ndarray


def run(model_path: str, folder: str) -> None:
    if FLAGS.state == learned.NONE:
        raise Failure("--state none is for infer and evaluate; training needs a file to save what is learned in.")
    state = learned.state_path(FLAGS.state, model_path)
    if not state.parent.is_dir():
        raise Failure(f"there is no folder {state.parent} to save {state.name} in. Create it first.")
    model = learned.open_model(model_path, state if state.exists() else None, FLAGS.num_threads)
    images.check_takes_images(model)
    training, validation = read_samples(model, folder, state.parent)
    resume = can_resume(model, len(training.labels))
    describe(model, training, validation, folder, state, resume)
    save(model, state, keep=1)  # before an hour of training: can it be written at all?
    stop_as_ctrl_c_does()
    try:
        history = fit(model, training, validation, state, resume)
        with uninterrupted():
            save(model, state, FLAGS.keep)
    except KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt), uninterrupted():  # a second Ctrl-C must not break the save
            save(model, state, FLAGS.keep)
        raise KeyboardInterrupt(f"stopped. {what_stands(model, state)}") from None
    print(epochs_table(history))
    print(f"Learned in {model.steps} steps, in {state}. Try it: tinytl infer {model_path} an_image.jpg")


def read_samples(model: OnDeviceModel, folder: str, room: Path) -> tuple[Samples, Samples | None]:
    """What is trained on, and what is held out. `room` is a folder for what is too much for the memory."""
    files = image_files(folder)
    training, validation = [], []
    for output, paths in zip(images.outputs_of(list(files), model, learn=True), files.values()):
        for path, held in zip(paths, images.held_out(paths, FLAGS.validation)):
            (validation if held else training).append((path, output))
    paths, labels = zip(*training, *validation)
    pixels, labels, count = (
        images.read_images(paths, model, FLAGS.crop, room),
        np.array(labels, np.int32),
        len(training),
    )
    return Samples(pixels[:count], labels[:count]), Samples(pixels[count:], labels[count:]) if validation else None


def stop_as_ctrl_c_does() -> None:
    """A shutdown, and the end of a remote session, save too; but under nohup the end of a session stops nothing."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


def can_resume(model: OnDeviceModel, samples: int) -> bool:
    """Whether an interrupted run is to go on; says so where one was, with other images or options."""
    progress = model.fit_progress
    if progress is None:
        return False
    batch_size = FLAGS.batch_size or model.info["batch_size"]
    if (progress.samples, progress.batch_size, progress.seed) == (samples, batch_size, FLAGS.seed):
        return True
    learned.note(
        "The images or options are not those of the run that was interrupted: a new one begins where it ended."
    )
    return False


def describe(model, training: Samples, validation: Samples | None, folder: str, state: Path, resume: bool) -> None:
    used = sorted({*training.labels})
    held = "" if validation is None else f", {len(validation.labels)} more held out"
    learned.note(f"{len(training.labels)} images of {len(used)} classes in {folder}{held}.")
    unseen = [images.name_of(i, model) for i in range(len(model.class_names or ())) if i not in used]
    if unseen:
        learned.note(f"No images of {', '.join(unseen)}: what is not shown fades. Add a few of each.")
    if resume:
        progress = model.fit_progress
        learned.note(f"Goes on in epoch {progress.epoch + 1}, after {model.steps} steps, from {state}.")
    elif model.steps:
        learned.note(f"Builds on the {model.steps} steps in {state}.")


def fit(model: OnDeviceModel, training: Samples, validation: Samples | None, state: Path, resume: bool) -> dict:
    """`OnDeviceModel.fit`, with one bar over all epochs, saved every now and then."""
    batch_size = FLAGS.batch_size or model.info["batch_size"]
    per_epoch = -(-len(training.labels) // batch_size)
    done = model.fit_progress.epoch * per_epoch + model.fit_progress.position if resume else 0
    saved = time.monotonic()

    def after_step(result) -> None:
        nonlocal saved
        progress = model.fit_progress
        totals = progress.totals
        shown = {"epoch": f"{progress.epoch + 1}/{FLAGS.epochs}", "loss": f"{totals.mean_loss:.3f}"}
        shown |= {"accuracy": f"{totals.accuracy:.1%}"} | memory()
        bar.set_postfix(shown, refresh=False)
        bar.update()
        if time.monotonic() - saved >= FLAGS.save_every:
            save(model, state, FLAGS.keep)
            saved = time.monotonic()

    total = FLAGS.epochs * per_epoch
    with tqdm(total=total, initial=done, desc="training", unit="step", dynamic_ncols=True, disable=None) as bar:
        return model.fit(
            training.images,
            images.targets(training.labels, model),
            FLAGS.epochs,
            batch_size,
            cosine(default_rate(model) if FLAGS.learning_rate is None else FLAGS.learning_rate),
            None if validation is None else (validation.images, images.targets(validation.labels, model)),
            seed=FLAGS.seed,
            resume=resume,
            restore_best=validation is not None,
            after_step=after_step,
            verbose=False,
        )


def default_rate(model: OnDeviceModel) -> float:
    """0.05 for plain SGD; with momentum, whose steps are 1 / (1 − momentum) as long, less; 0.001 for Adam."""
    optimizer = model.info["optimizer"]
    return 0.001 if optimizer["name"] == "adam" else 0.05 * (1 - optimizer.get("momentum", 0.0))


def memory() -> dict[str, str]:
    resident = resident_bytes()
    return {} if resident is None else {"memory": f"{resident / 1e6:.0f} MB"}


def save(model: OnDeviceModel, state: Path, keep: int) -> None:
    """Raises Failure if it cannot be written; what stood there still does."""
    stood = state.exists()
    try:
        model.save(state, keep)
    except OSError as error:
        stands = (
            "What stood there still does, and the same command goes on from it." if stood else "Nothing is lost yet."
        )
        raise Failure(f"{state} cannot be written: {in_one_line(error)} {stands}") from error


def what_stands(model: OnDeviceModel, state: Path) -> str:
    then = "all epochs were done" if model.fit_progress is None else "the same command goes on from there"
    return f"What {model.steps} steps have learned is in {state}; {then}."


def epochs_table(history: dict[str, list[float]]) -> str:
    first = FLAGS.epochs - len(history["loss"])
    columns = {"loss": "{:.4f}", "accuracy": "{:.1%}", "validation_loss": "{:.4f}", "validation_accuracy": "{:.1%}"}
    columns = {name: form for name, form in columns.items() if name in history}
    columns |= {"skipped_steps": "{}"} if any(history["skipped_steps"]) else {}
    rows = [
        (str(first + i + 1), *(form.format(history[name][i]) for name, form in columns.items()))
        for i in range(len(history["loss"]))
    ]
    skipped = sum(history["skipped_steps"])
    text = table(("epoch", *(name.replace("_", " ") for name in columns)), rows)
    if "validation_loss" in history:
        text += "\nThe epoch with the lowest validation loss is kept."
    if skipped:
        text += f"\n{skipped} steps were skipped, because their outputs were not finite: try a lower --learning_rate."
    return text
