"""A Raspberry Pi's camera, by picamera2."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

try:
    from picamera2 import Picamera2
except ImportError as error:
    raise SystemExit(
        f"personalise: picamera2 cannot be imported ({error}). Install it with `sudo apt install python3-picamera2`, "
        f"and make the venv with --system-site-packages; or watch a folder: --inbox=inbox/"
    ) from error


class Camera:
    """Open for the ``with`` block.

    Args:
        size: Height and width in pixels of what `capture` gives back.
    """

    def __init__(self, size: int):
        self._size = size
        self._camera = Picamera2()

    def __enter__(self) -> Camera:
        # picamera2 names formats by their order in memory, little endian: "BGR888" is an array of R, G, B.
        self._camera.configure(self._camera.create_video_configuration({"size": (640, 480), "format": "BGR888"}))
        self._camera.start()
        return self

    def __exit__(self, *_) -> None:
        self._camera.stop()
        self._camera.close()

    def capture(self) -> np.ndarray:
        """The central square of what it sees now, uint8 [size, size, 3], RGB."""
        image = Image.fromarray(self._camera.capture_array("main"))
        return np.asarray(ImageOps.fit(image, (self._size, self._size), Image.Resampling.BILINEAR))
