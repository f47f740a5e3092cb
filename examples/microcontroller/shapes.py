"""Pictures of shapes, drawn: 128x128 RGB, another place, size, colour and noise every time."""

from __future__ import annotations

import numpy as np

SIZE = 128
KNOWN = ("disc", "square", "triangle", "stripes", "frame", "dots")  # what the network learns on the computer
NEW = ("ring", "cross", "moon")  # what it learns on the device


def draw(name: str, random: np.random.Generator) -> np.ndarray:
    """One picture, uint8 [128, 128, 3]."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float64)
    radius = random.uniform(22, 42)
    centre = random.uniform(radius + 4, SIZE - radius - 4, 2)
    angle = random.uniform(-0.3, 0.3)
    u, v = (x - centre[0]) / radius, (y - centre[1]) / radius
    u, v = u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)
    inside = _SHAPES[name](u, v)[..., None]
    background, colour = _colours(random)
    shade = background + random.uniform(-30, 30) * (x / SIZE - 0.5)[..., None]
    picture = np.where(inside, colour, shade) + random.normal(scale=6, size=(SIZE, SIZE, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def pictures(names: tuple[str, ...], each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """`each` pictures of every shape, uint8 [n, 128, 128, 3], and their classes; the classes alternate."""
    random = np.random.default_rng(seed)
    labels = np.tile(np.arange(len(names), dtype=np.int32), each)
    return np.stack([draw(names[label], random) for label in labels]), labels


def _colours(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A bright one, and a dark one for the shape."""
    return random.uniform(150, 230, 3), random.uniform(15, 95, 3)


def _disc(u, v):
    return u**2 + v**2 < 1


_SHAPES = {
    "disc": _disc,
    "square": lambda u, v: (abs(u) < 0.85) & (abs(v) < 0.85),
    "triangle": lambda u, v: (v > -0.8) & (v < 0.9) & (abs(u) < (v + 0.8) * 0.6),
    "stripes": lambda u, v: (abs(u) < 1) & (abs(v) < 1) & (np.sin(9 * v) > 0),
    "frame": lambda u, v: (np.maximum(abs(u), abs(v)) < 0.95) & (np.maximum(abs(u), abs(v)) > 0.6),
    "dots": lambda u, v: (abs(u) < 1) & (abs(v) < 1) & (np.sin(7 * u) * np.sin(7 * v) > 0.4),
    "ring": lambda u, v: _disc(u, v) & ~_disc(u / 0.6, v / 0.6),
    "cross": lambda u, v: ((abs(u) < 0.3) & (abs(v) < 1)) | ((abs(v) < 0.3) & (abs(u) < 1)),
    "moon": lambda u, v: _disc(u, v) & ~_disc(u - 0.6, v),
}
