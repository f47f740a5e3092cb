"""A folder with one folder of photographs per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photographs(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, size, size, 3] and their classes int32 [n], by the folders' names."""
    x, y = [], []
    for label, subfolder in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(subfolder.glob("*.jpg")):
            with Image.open(path) as image:
                x.append(np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR), np.uint8))
            y.append(label)
    return np.stack(x), np.array(y, np.int32)


def scaled(pixels: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1], as networks of keras.applications and those of ../shared were trained."""
    return pixels.astype(np.float32) / 127.5 - 1
