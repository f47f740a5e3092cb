"""Images as a model takes them, and what it calls their classes."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from tflite_export.cli import learned
from tflite_export.cli.failure import Failure, in_one_line
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.image_folder import read_image
from tflite_export.runtime.info import heads_of, inputs_of

_IN_MEMORY = 64_000_000  # bytes
_INSTEAD = "Use tflite_export.runtime.OnDeviceModel from Python."
_CATEGORICAL = ("sparse_categorical_crossentropy", "categorical_crossentropy")


def check_takes_images(model: OnDeviceModel) -> None:
    """Raises Failure for a model whose input is not one image, or whose output not one class."""
    info = model.info
    inputs, outputs = ([part["name"] for part in parts] for parts in (inputs_of(info), heads_of(info)))
    if len(inputs) > 1 or len(outputs) > 1:
        raise Failure(
            f"this model has the inputs {', '.join(inputs)} and the outputs {', '.join(outputs)}; tinytl takes models "
            f"from one image to one class. {_INSTEAD}"
        )
    shape, loss = info["input_shape"], info["loss"]
    if len(shape) != 3 or shape[2] not in (1, 3):
        raise Failure(f"this model takes {shape}, not images of 1 or 3 channels. {_INSTEAD}")
    if loss not in _CATEGORICAL:
        raise Failure(f"this model was exported with {loss}, not for classes. {_INSTEAD}")
    if len(model.output_shape) != 1:
        raise Failure(f"this model tells a class at each of {list(model.output_shape[:-1])} places. {_INSTEAD}")


def read_images(paths: Sequence[Path], model: OnDeviceModel, crop: float, folder: Path) -> np.ndarray:
    """uint8 [n, height, width, channels], with a progress bar where there is a terminal.

    More than `_IN_MEMORY` bytes are written to a file in `folder`, which has no name and goes with the process, and are
    read from there as they are needed.

    Raises:
        Failure: If `folder` has no room for that.
    """
    shape = len(paths), *model.info["input_shape"]
    size = f"{math.prod(shape) / 1e6:,.0f} MB"
    pixels = (
        read_one(path, model, crop) for path in tqdm(paths, desc="reading", unit=" images", leave=False, disable=None)
    )
    if math.prod(shape) <= _IN_MEMORY:
        images = np.empty(shape, np.uint8)
        for index, image in enumerate(pixels):
            images[index] = image
        return images
    learned.note(f"The images are {size} as the model takes them, and wait in a file in {folder} until the end.")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.writelines(image.data for image in pixels)
            file.flush()
            return np.memmap(file, np.uint8, "r", shape=shape)
    except FileNotFoundError:
        raise  # an image
    except OSError as error:
        raise Failure(f"{size} of images do not fit in {folder}: {in_one_line(error)}") from error


def read_one(path: str | Path, model: OnDeviceModel, crop: float) -> np.ndarray:
    """uint8 [height, width, channels]."""
    height, width, channels = model.info["input_shape"]
    return read_image(path, (height, width), channels=channels, crop=crop)


def outputs_of(names: Sequence[str], model: OnDeviceModel, learn: bool) -> list[int]:
    """Which output of the model each class is; with `learn`, new classes take spare ones.

    Raises:
        Failure: If the model does not know a class, or has no output to spare for it.
    """
    known, classes = model.class_names, model.info["classes"]
    if known is None:
        return _outputs_without_names(names, classes)
    new = [name for name in names if name not in known]
    if new and not learn:
        raise Failure(f"the model does not know {_few(new)}. It knows {_few(known)}.")
    if len(known) + len(new) > classes:
        raise Failure(
            f"{_few(new)} cannot be learned: {len(known)} of the model's {classes} outputs have a name already, "
            f"{_few(known)}. Rename or leave out folders, or export a model with a larger num_classes."
        )
    for name in new:
        model.add_class(name)
    return [model.class_names.index(name) for name in names]


def _outputs_without_names(names: Sequence[str], classes: int) -> list[int]:
    if all(name.isdecimal() and int(name) < classes for name in names):
        return [int(name) for name in names]
    if len(names) == classes:
        return list(range(classes))
    raise Failure(
        f"the model has {classes} outputs and names none of them, and there are {len(names)} classes, {_few(names)}. "
        f"Name the folders 0 to {classes - 1}, or have one for each output, in order, "
        "or write the file again with class_names."
    )


def name_of(output: int, model: OnDeviceModel) -> str:
    names = model.class_names
    return names[output] if names and output < len(names) else f"class {output}"


def targets(labels: np.ndarray, model: OnDeviceModel) -> np.ndarray:
    """Class indices as the file's loss takes them."""
    one_hot = model.info["loss"] == "categorical_crossentropy"
    return np.eye(model.info["classes"], dtype=np.float32)[labels] if one_hot else labels


def held_out(paths: Sequence[Path], fraction: float) -> list[bool]:
    """Which images of one class are for validation: that part of them, rounded up, but never all.

    It depends on the files' names, so that an image stays on its side when others are added.
    """
    count = min(math.ceil(fraction * len(paths)), len(paths) - 1)
    chosen = {*sorted(paths, key=lambda path: (zlib.crc32(path.name.encode()), path.name))[:count]}
    return [path in chosen for path in paths]


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:5]))
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
