"""Reads a folder of images with one subfolder per class."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image, ImageOps

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """`images` uint8 [n, size, size, 3] (RGB), `labels` int32 [n]: indices into `class_names`."""

    images: np.ndarray
    labels: np.ndarray
    class_names: list[str]


def load_image_folder(folder: str | Path, size: int) -> LabelledImages:
    """Every image below `folder`, cropped to its central square and resized; subfolders in natural order.

    Args:
        folder: Holds one subfolder per class, which holds that class's images (JPEG, PNG, BMP, GIF, WebP, TIFF).
            Hidden files are ignored, other files are reported.
        size: Height and width of the result in pixels.

    Raises:
        FileNotFoundError, NotADirectoryError: If `folder` is not a folder.
        ValueError: If there are fewer than two classes, a class has no image, or an image cannot be read.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected: a folder with one subfolder of images per class.")
    classes = sorted((f for f in _visible(folder) if f.is_dir()), key=lambda path: _natural(path.name))
    if len(classes) < 2:
        loose = sum(_is_image(f) for f in _visible(folder))
        hint = f" {loose} images lie in the folder itself: sort them into subfolders." if loose else ""
        raise ValueError(
            f"{folder} must have at least two subfolders, one per class. Found: {[c.name for c in classes]}.{hint}"
        )
    images, labels = [], []
    for label, path in enumerate(classes):
        files = [f for f in _visible(path) if f.is_file()]
        pictures = sorted(filter(_is_image, files), key=lambda file: _natural(file.name))
        if not pictures:
            raise ValueError(f"The class {path.name!r} has no image: put some into {path}, or remove the folder.")
        if others := [f.name for f in files if not _is_image(f)]:
            logging.warning("%s: left out, because not an image: %s", path, _few(others))
        images += [_read(picture, size) for picture in pictures]
        labels += [label] * len(pictures)
    return LabelledImages(np.stack(images), np.array(labels, np.int32), [path.name for path in classes])


def _read(path: Path, size: int) -> np.ndarray:
    """uint8 [size, size, 3]."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            return np.asarray(ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): replace or remove it.") from error


def _visible(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _few(names: list[str]) -> str:
    """The first three by name, and how many there are."""
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _is_image(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in _SUFFIXES


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Sorts "2" before "10"."""
    parts = re.split(r"(\d+)", name)
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part.lower()) for part in parts if part]
