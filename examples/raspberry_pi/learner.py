"""Learns from one photo at a time, without forgetting the earlier ones."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from tflite_export.atomic import write_atomically
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.image_folder import read_image


class Learner:
    """An exported classifier with its memory: a state, and every photo it has learned from.

    A photo is on the disk before it is learned from, and the state is replaced as a whole, so a power cut costs at most
    the steps of one photo. The state before stands beside it, for when the card damages the newest.

    Args:
        model_path: The exported file; its input must be square RGB images.
        memory: Folder for ``state.safetensors`` and ``photos/<class>/``; made if it is not there.
        steps: Training steps after every photo.
        learning_rate: Of each.

    Attributes:
        model: The `OnDeviceModel`.
        names: The class names so far.
        size: Height and width in pixels of the images that it takes.
    """

    def __init__(self, model_path: str | Path, memory: Path, steps: int, learning_rate: float):
        memory.mkdir(parents=True, exist_ok=True)
        self._state = memory / "state.safetensors"
        self._photos = memory / "photos"
        self._steps, self._learning_rate = steps, learning_rate
        self._generator = np.random.default_rng()
        self.model = OnDeviceModel(model_path, self._state if self._state.exists() else None)
        shape = self.model.info["input_shape"]
        if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 3:
            raise ValueError(f"{model_path} must take square RGB images. It takes: {shape}")
        if self.model.class_names is None:
            raise ValueError(f"{model_path} names no classes. Export it with class_names=[…].")
        self.size = shape[0]
        unknown = [folder for folder in self._folders() if int(folder.name) >= len(self.names)]
        if unknown:
            raise ValueError(f"{unknown[0]} holds photos of a class that {self._state} does not name. Remove {memory}.")

    @property
    def names(self) -> list[str]:
        return self.model.class_names

    def read(self, path: Path) -> np.ndarray:
        """The central square of an image file, upright, uint8 [size, size, 3].

        Raises:
            ValueError: If it cannot be read as an image.
        """
        return read_image(path, self.size)

    def predict(self, image: np.ndarray) -> dict[str, float]:
        """The probability of each class, for an image uint8 [size, size, 3]."""
        output = self.model.predict(image[None])[0, : len(self.names)].astype(np.float64)
        if self.model.info["output_activation"] == "linear":
            output = np.exp(output - output.max())
        return dict(zip(self.names, (output / output.sum()).tolist()))

    def learn(self, image: np.ndarray, name: str) -> tuple[float, float]:
        """Takes the steps for a new photo, and saves.

        Every batch holds the photo itself and, for the rest, photos of the memory, each class as likely as the other.

        Args:
            image: uint8 [size, size, 3].
            name: Of its class; a new name takes a spare output.

        Returns:
            The probability of `name` before and after.

        Raises:
            ValueError: If the name is new and no output is spare.
        """
        if name not in self.names:
            self.model.add_class(name)
            self.model.save(self._state, keep=2)  # before the first photo that needs the name
        label = self.names.index(name)
        before = self.predict(image)[name]
        self._remember(image, label)
        for _ in range(self._steps):
            images, labels = self._batch(image, label)
            self.model.train_step(images, labels, self._learning_rate)
        self.model.save(self._state, keep=2)
        return before, self.predict(image)[name]

    def photo_count(self) -> int:
        return sum(1 for _ in self._photos.glob("*/[!.]*.png"))

    def _folders(self) -> list[Path]:
        """Of photos, named by their class's label; what a file manager has put beside them is none."""
        return sorted(folder for folder in self._photos.glob("*") if folder.name.isdecimal())

    def _remember(self, image: np.ndarray, label: int) -> None:
        """Under a name that its pixels give: the same photo twice is one."""
        folder = self._photos / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        Image.fromarray(image).save(content, "PNG")
        write_atomically(folder / f"{hashlib.sha256(image.tobytes()).hexdigest()[:16]}.png", content.getvalue())

    def _batch(self, image: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
        folders = [folder for folder in self._folders() if any(folder.glob("[!.]*.png"))]
        images, labels = [image], [label]
        for index in self._generator.integers(len(folders), size=self.model.info["batch_size"] - 1):
            photos = sorted(folders[index].glob("[!.]*.png"))
            with Image.open(photos[self._generator.integers(len(photos))]) as photo:
                images.append(np.asarray(photo))
            labels.append(int(folders[index].name))
        return np.stack(images), np.array(labels)
