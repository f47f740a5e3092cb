"""Accuracy on a folder of images with one subfolder per class, and what is taken for what.

tinytl evaluate model.tflite photos/
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
from absl import flags
from tqdm.auto import tqdm

from tflite_export.cli import images, learned
from tflite_export.cli.table import table
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.batches import slices
from tflite_export.runtime.image_folder import image_files

OPERANDS = ("model.tflite", "photos/")
FLAGS = flags.FlagValues()
learned.define_state(FLAGS, none="; none for the model as exported")
learned.define_images(FLAGS)
_AT_ONCE = 32  # images that are in memory
_MOST = 12  # confusions that are listed


def run(model_path: str, folder: str) -> None:
    files = image_files(folder, fewest=1)
    model = learned.open_learned(FLAGS.state, model_path, FLAGS.num_threads)
    images.check_takes_images(model)
    outputs = images.outputs_of(list(files), model, learn=False)
    answers = answers_to(list(itertools.chain.from_iterable(files.values())), model)
    labels = np.repeat(np.array(outputs, np.int32), [len(paths) for paths in files.values()])
    right = int((answers == labels).sum())
    print(f"accuracy {right / len(labels):.1%}: {right} of {len(labels)} images\n")
    counts = confusion(labels, answers, model.info["classes"])
    names = [images.name_of(i, model) for i in range(len(counts))]
    print(confusions(counts, names, shutil.get_terminal_size().columns))


def answers_to(paths: list[Path], model: OnDeviceModel) -> np.ndarray:
    """The likeliest class of each image, int64 [n], a few images at a time."""
    found = []
    with tqdm(total=len(paths), desc="evaluating", unit=" images", leave=False, disable=None) as bar:
        for part in slices(len(paths), max(_AT_ONCE, model.info["infer_batch_size"])):
            pixels = np.stack([images.read_one(path, model, FLAGS.crop) for path in paths[part]])
            found.append(model.predict(pixels).argmax(axis=1))
            bar.update(len(pixels))
    return np.concatenate(found)


def confusion(labels: np.ndarray, answers: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: how many of the first class were taken for the second."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, answers), 1)
    return counts


def confusions(counts: np.ndarray, names: list[str], width: int) -> str:
    """A table of all the classes that occur, or where `width` has no room for it, the most frequent confusions."""
    seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    rows = [
        (names[i], str(counts[i].sum()), _share(counts[i, i], counts[i].sum()), *(_cell(counts[i, j]) for j in seen))
        for i in seen
    ]
    text = table(("", "images", "right", *(f"→ {names[j]}" for j in seen)), rows)
    if max(map(len, text.splitlines())) <= width:
        return text
    return _most_frequent(counts, names)


def _most_frequent(counts: np.ndarray, names: list[str]) -> str:
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST]
    pairs = [(i, j) for i, j in zip(*np.unravel_index(order, wrong.shape)) if wrong[i, j]]
    if not pairs:
        return "Nothing is taken for anything else."
    rows = [(names[i], names[j], f"{wrong[i, j]}", f"of {counts[i].sum()}") for i, j in pairs]
    return table(("images of", "taken for", "times", ""), rows, left=2)


def _share(count: int, total: int) -> str:
    return f"{count / total:.0%}" if total else "–"


def _cell(count: int) -> str:
    return str(count) if count else "·"
