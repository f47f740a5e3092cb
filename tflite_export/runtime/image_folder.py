"""Reads images, and folders of images with one subfolder per class. Needs Pillow, of the extra `device`."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image, ImageOps

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"}
_LARGE = 24_000_000  # pixels, above which a whole photo is too much for a small device
_ENOUGH = 4


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """`images` uint8 [n, height, width, channels], `labels` int32 [n]: indices into `class_names`."""

    images: np.ndarray
    labels: np.ndarray
    class_names: list[str]


def load_image_folder(folder: str | Path, size: int | tuple[int, int]) -> LabelledImages:
    """Every image that `image_files` finds, as `read_image` reads it, in RGB.

    Args:
        folder: Holds at least two subfolders, one per class.
        size: Height and width of the result in pixels, or one number for both.

    Raises:
        FileNotFoundError, NotADirectoryError: If `folder` is not a folder.
        ValueError: If there are fewer than two classes, a class has no image, or an image cannot be read.
    """
    files = image_files(folder)
    images = [read_image(path, size) for paths in files.values() for path in paths]
    labels = np.repeat(np.arange(len(files), dtype=np.int32), [len(paths) for paths in files.values()])
    return LabelledImages(np.stack(images), labels, list(files))


def image_files(folder: str | Path, fewest: int = 2) -> dict[str, list[Path]]:
    """The images of each class, both in natural order ("2" before "10").

    Args:
        folder: Holds one subfolder per class, which holds that class's images (JPEG, PNG, BMP, GIF, WebP, TIFF).
            Hidden files are ignored, other files are reported.
        fewest: How many classes there must be.

    Raises:
        FileNotFoundError, NotADirectoryError: If `folder` is not a folder.
        ValueError: If there are fewer classes, or a class has no image.
    """
    folder = Path(folder)
    if not folder.exists():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file. Expected: a folder with one subfolder of images per class.")
    classes = sorted((f for f in _visible(folder) if f.is_dir()), key=lambda path: _natural(path.name))
    if len(classes) < fewest:
        loose = sum(_is_image(f) for f in _visible(folder))
        hint = f" {loose} images lie in the folder itself: sort them into subfolders." if loose else ""
        raise ValueError(
            f"{folder} must have at least {_NUMBERS[fewest]}, one per class. Found: {[c.name for c in classes]}.{hint}"
        )
    names = [unicodedata.normalize("NFC", path.name) for path in classes]  # macOS writes an é as e and an accent
    if len(set(names)) < len(names):
        raise ValueError(
            f"Two folders in {folder} have the same name but for its encoding: {sorted(names)}. Rename one."
        )
    return {name: _images_of_class(path) for name, path in zip(names, classes)}


_NUMBERS = {1: "one subfolder", 2: "two subfolders"}


def _images_of_class(folder: Path) -> list[Path]:
    files = [f for f in _visible(folder) if f.is_file()]
    pictures = sorted(filter(_is_image, files), key=lambda file: _natural(file.name))
    others = [f.name for f in files if not _is_image(f)]
    if not pictures:
        found = f" Found: {_few(others)}." if others else ""
        raise ValueError(
            f"The class {folder.name!r} has no image: put some into {folder} (JPEG, PNG, BMP, GIF, WebP, TIFF), or "
            f"remove the folder.{found}"
        )
    if others:
        logging.warning("%s: left out, because not an image: %s", folder, _few(others))
    return pictures


def save_image_folder(samples: LabelledImages, folder: str | Path) -> None:
    """Writes `samples` as PNG files, in a subfolder per class; `load_image_folder` at their size gives them back."""
    for label, name in enumerate(samples.class_names):
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(samples.images[samples.labels == label]):
            Image.fromarray(image).save(Path(folder) / name / f"{index}.png")


def read_image(path: str | Path, size: int | tuple[int, int], *, channels: int = 3, crop: float = 1.0) -> np.ndarray:
    """The middle of an image, upright as its EXIF data says: uint8 [height, width, channels].

    It is resized as `tinytl_keras.data` does, bilinear and smoothed where it becomes smaller; an image that has this
    size already is taken as it is. Of 16 bits the upper 8 are taken, transparency is left out. A JPEG of more than 24
    megapixels is decoded at a fraction of its size, as far as that is still `_ENOUGH` times the result's.

    Args:
        path: Of the file.
        size: Height and width of the result in pixels, or one number for both.
        channels: 3 for RGB, 1 for grey.
        crop: How much of the largest part with the result's shape is kept, of each side, in (0, 1]. With 7/8 that is
            the central crop of `tinytl_keras.data`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read as an image.
    """
    height, width = (size, size) if isinstance(size, int) else size
    try:
        with Image.open(path) as image:
            if image.width * image.height > _LARGE:
                image.draft(None, 2 * (_ENOUGH * max(height, width),))  # of a JPEG; the others have no such thing
            ImageOps.exif_transpose(image, in_place=True)
            plain = _of_eight_bits(image).convert({1: "L", 3: "RGB"}[channels])
            fitted = ImageOps.fit(plain, (width, height), Image.Resampling.BILINEAR, bleed=(1 - crop) / 2)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no image {path}.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}): replace or remove it.") from error
    return np.asarray(fitted).reshape(height, width, channels)


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """An image of 16 bits a pixel, which Pillow would cut off at 255, by its upper 8; any other as it is.

    Raises:
        ValueError: If its numbers have no known range.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels are numbers of 32 bits, mode {image.mode!r}; expected: 8 or 16 bits")
    return image


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
