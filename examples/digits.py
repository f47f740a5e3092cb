"""Handwritten digits that come with scikit-learn, as colour images on photographic backgrounds."""

from __future__ import annotations

import numpy as np
from image_folder import LabelledImages
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images


def load(classes: range, size: int) -> LabelledImages:
    """The digits in `classes`, enlarged from 8 to `size` pixels: uint8 [n, size, size, 3], labels from 0."""
    data = load_digits()
    chosen = np.isin(data.target, classes)
    enlarged = [
        Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
        for image in data.images[chosen]
    ]
    images = np.repeat(np.stack(enlarged)[..., None], 3, axis=-1)
    return LabelledImages(images, (data.target[chosen] - classes.start).astype(np.int32), [str(c) for c in classes])


def photographs(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Random crops, uint8 [count, size, size, 3], of the two photographs that come with scikit-learn."""
    crops = []
    for _ in range(count):
        photo = load_sample_images().images[rng.integers(2)] if not crops else crops
        crops.append(photo)
    return np.stack(crops)
