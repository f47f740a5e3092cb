"""Loads a .keras file for the verbs that need Keras."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tflite_export.atomic import write_atomically
from tflite_export.cli.failure import Failure


def load(path: str):
    """The model, with the layers of `tinytl_keras` known.

    Raises:
        Failure: If Keras is not installed, or `path` is not a .keras file.
    """
    if not Path(path).is_file():
        raise Failure(f"there is no file {path}.")
    if Path(path).suffix != ".keras":
        raise Failure(f"{path} is not a .keras file. Write one with model.save('model.keras').")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        import keras

        import tinytl_keras  # noqa: F401  registers its layers
    except ImportError as error:
        raise Failure(f'this needs Keras and TensorFlow: pip install "tinytl-keras[train]" ({error}).') from error
    return keras.saving.load_model(path, compile=False)


def save(model, path: str) -> None:
    """Writes a .keras file, whole or not at all."""
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "model.keras"
        model.save(whole)
        write_atomically(path, whole.read_bytes())


def check_keras_path(path: str) -> None:
    if Path(path).suffix != ".keras":
        raise Failure(f"{path} must end in .keras.")
    if not Path(path).absolute().parent.is_dir():
        raise Failure(f"there is no folder {Path(path).parent} to write {Path(path).name} in. Create it first.")
