"""Data sets that are folders of images."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from tinytl_keras.data.source import Samples, Source, check_classes

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
TEST_FRACTION = 0.25
_SPLITS = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}


def open_folder(folder: str | Path) -> Source:
    """A folder with one subfolder of images per class; or one with `train`, `test` (or `val`), each such a folder.

    Of every class in an undivided folder the same quarter, rounded up, is held out as test images. `validation`
    serves as test images where there is no `test`. Hidden files are ignored, other files are reported.

    Args:
        folder: Holds JPEG, PNG, BMP, GIF, WebP or TIFF files in its subfolders, whose names are the classes' names,
            in natural order ("2" before "10").

    Raises:
        FileNotFoundError, NotADirectoryError: `folder` is not a folder.
        ValueError: It holds fewer than two classes, a class has no image to train or to test on, or the splits have
            different classes.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(
            f"There is no folder {folder}. A data set of tensorflow-datasets is written 'tfds:{folder.name}'."
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected: a folder with one subfolder of images per class.")
    subfolders = _subfolders(folder)
    if subfolders and {path.name for path in subfolders} <= set(_SPLITS):
        splits = {_SPLITS[path.name]: _images_by_class(path) for path in subfolders}
    else:
        splits = _hold_out(_images_by_class(folder))
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    if "train" not in splits or "test" not in splits:
        raise ValueError(
            f"{folder} holds splits, {[path.name for path in subfolders]}, and must hold 'train' and 'test' (or 'val')."
        )
    names = tuple(splits["train"])
    for split, classes in splits.items():
        if tuple(classes) != names:
            different = sorted(set(classes) ^ set(names))
            raise ValueError(f"{folder}: train and {split} must have the same classes. Only one has: {different}.")
    validation = _samples(splits["validation"]) if "validation" in splits else None
    return Source(str(folder), names, _samples(splits["train"]), _samples(splits["test"]), validation, decode_file)


def decode_file(path: tf.Tensor) -> tf.Tensor:
    """Reads an image, upright as its EXIF data says: uint8 `[height, width, 3]`.

    Raises:
        tf.errors.OpError: In a `tf.data` pipeline, where the file cannot be read as an image; the message names it.
        ValueError: The same, outside of one.
    """
    image = tf.numpy_function(_read, [path], tf.uint8, stateful=False)
    image.set_shape([None, None, 3])
    return image


def _read(path: bytes | np.ndarray) -> np.ndarray:
    from PIL import Image, ImageOps

    path = np.asarray(path).item().decode()  # bytes in a graph, an array of shape [] outside
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): replace or remove it.") from error


def _images_by_class(folder: Path) -> dict[str, list[str]]:
    """Paths of images by class, both in natural order."""
    classes = _subfolders(folder)
    loose = sum(_is_image(path) for path in folder.iterdir())
    hint = f" {loose} images lie in the folder itself: sort them into subfolders." if loose else ""
    hint = hint or " It needs one subfolder of images per class."
    check_classes(str(folder), tuple(path.name for path in classes), hint)
    images = {}
    for path in classes:
        files = [file for file in path.iterdir() if file.is_file() and not file.name.startswith(".")]
        images[path.name] = [str(file) for file in sorted(filter(_is_image, files), key=_natural)]
        if not images[path.name]:
            raise ValueError(f"The class {path.name!r} has no image: put some into {path}, or remove the folder.")
        if others := [file.name for file in files if not _is_image(file)]:
            logging.warning("%s: %d files are not images and are left out: %s", path, len(others), others[:3])
    return images


def _hold_out(images: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """Training and test images; which ones depends on nothing but how many there are."""
    splits = {"train": {}, "test": {}}
    for name, paths in images.items():
        if len(paths) < 2:
            raise ValueError(f"The class {name!r} has one image. It needs two: one to learn from and one to test on.")
        order = np.random.default_rng(0).permutation(len(paths))
        count = -(-len(paths) * TEST_FRACTION // 1)
        splits["test"][name] = [paths[i] for i in sorted(order[: int(count)])]
        splits["train"][name] = [paths[i] for i in sorted(order[int(count) :])]
    return splits


def _samples(classes: dict[str, list[str]]) -> Samples:
    paths = [path for images in classes.values() for path in images]
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(images) for images in classes.values()])
    return Samples(tf.data.Dataset.from_tensor_slices((paths, labels)), len(paths))


def _subfolders(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."), key=_natural)


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _natural(path: Path) -> list[tuple[bool, int, str]]:
    """Sorts "2" before "10"."""
    parts = re.split(r"(\d+)", path.name)
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in parts if part]
