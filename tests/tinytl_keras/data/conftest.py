"""Data sets under public names, written once, and a folder of images."""

import numpy as np
import pytest
from PIL import Image

from .store import store


@pytest.fixture(scope="package")
def data_dir(tmp_path_factory):
    """What `tfds build` would have left behind, with fewer images."""
    path = tmp_path_factory.mktemp("tensorflow_datasets")
    store(path, "oxford_flowers102", "2.1.1", {"train": 12, "validation": 3, "test": 5}, text="file_name")
    store(path, "cifar10", "3.0.2", {"train": 9, "test": 4}, shape=(32, 32, 3), text="id")
    store(path, "mnist", "3.0.1", {"train": 6, "test": 3}, shape=(28, 28, 1))
    store(path, "tf_flowers", "3.0.1", {"train": 8})
    return path


@pytest.fixture
def folder(tmp_path):
    """Classes "2" (red) and "10" (blue), four images each, of different sizes and kinds."""
    for name, colour in (("10", (0, 0, 255)), ("2", (255, 0, 0))):
        path = tmp_path / "images" / name
        path.mkdir(parents=True)
        for index, kind in enumerate(("png", "jpg", "webp", "bmp")):
            Image.new("RGB", (40 + 10 * index, 40), colour).save(path / f"{index}.{kind}")
    return tmp_path / "images"


@pytest.fixture(scope="package")
def photograph():
    """uint8 [90, 120, 3], smooth and colourful."""
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    return np.asarray(small.resize((120, 90), Image.Resampling.BICUBIC))
