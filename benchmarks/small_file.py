"""A small file that trains, and samples for it, for what is measured on the host's side."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

SAMPLES, BATCH, CLASSES = 22, 4, 4


def export_small(path: Path) -> None:
    """Writes a convolution and a head with Adam. In a process of its own, so that this one never has TensorFlow.

    Raises:
        RuntimeError: the export failed; its error is on stderr.
    """
    if os.fork() == 0:
        try:
            _export(path)
            os._exit(0)
        except Exception:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
    if os.wait()[1]:
        raise RuntimeError("the export failed; its error stands above")


def _export(path: Path) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    from keras import layers

    import tflite_export

    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, 2, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(CLASSES, name="head")(x))
    optimizer = tflite_export.Adam(weight_decay=0.01)
    tflite_export.export(model, path, batch_size=BATCH, optimizer=optimizer, verify=False)


def samples() -> tuple[np.ndarray, np.ndarray]:
    """x float32 [22, 8, 8, 3], y int64 [22]."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(SAMPLES, 8, 8, 3)).astype(np.float32), rng.integers(0, CLASSES, SAMPLES)
