"""Handwritten digits that come with scikit-learn, and the colourful variations that a network is pretrained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from tflite_export.runtime.image_folder import LabelledImages


def load(classes: Sequence[int], size: int) -> LabelledImages:
    """The digits in `classes`, enlarged from 8 to `size` pixels, white on black; labels are indices into `classes`."""
    data = load_digits()
    images, labels = [], []
    for label, digit in enumerate(classes):
        for pixels in data.images[data.target == digit]:  # float64 [8, 8] in 0 … 16
            picture = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
            images.append(np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC)))
            labels.append(label)
    rgb = np.repeat(np.stack(images)[..., None], 3, axis=-1)
    return LabelledImages(rgb, np.array(labels, np.int32), [str(digit) for digit in classes])


class Variations:
    """Turns, resizes and shifts digits, and paints most of them in some colour on a piece of a photograph.

    A network that has only seen white on black learns features that serve nothing else.
    """

    def __init__(self, seed: int = 0):
        self._rng = np.random.default_rng(seed)
        self._photographs = load_sample_images().images  # two of uint8 [427, 640, 3], part of scikit-learn

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """New variations of white digits on black: uint8 [n, size, size, 3] in and out."""
        return np.stack([self._one(image) for image in images])

    def _one(self, image: np.ndarray) -> np.ndarray:
        size = len(image)
        moved = self._moved(image, size)
        if self._rng.random() < 0.3:
            return moved
        background = self._crop(size).astype(np.float32)
        dark = background.mean() < 128
        colour = self._rng.uniform(140, 255, 3) if dark else self._rng.uniform(0, 115, 3)
        ink = moved / np.float32(255)
        return (background * (1 - ink) + colour * ink).astype(np.uint8)

    def _moved(self, image: np.ndarray, size: int) -> np.ndarray:
        angle = np.deg2rad(self._rng.uniform(-20, 20))
        zoom = self._rng.uniform(0.75, 1.2)
        shift = self._rng.uniform(-4, 4, 2) + size / 2
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        matrix = (
            *(cos, sin, size / 2 - cos * shift[0] - sin * shift[1]),
            *(-sin, cos, size / 2 + sin * shift[0] - cos * shift[1]),
        )
        picture = Image.fromarray(image)
        return np.asarray(picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR))

    def _crop(self, size: int) -> np.ndarray:
        photograph = self._photographs[self._rng.integers(len(self._photographs))]
        extent = self._rng.integers(size, 6 * size)
        top = self._rng.integers(photograph.shape[0] - extent)
        left = self._rng.integers(photograph.shape[1] - extent)
        crop = Image.fromarray(photograph[top : top + extent, left : left + extent])
        return np.asarray(crop.resize((size, size), Image.Resampling.BILINEAR))
