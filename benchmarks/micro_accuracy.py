"""What generated programs learn, beside LiteRT: the same network, weights, photographs, order and rates.

A program has int8 kernels, so it is not the same network as a float32 file; with ``frozen="int8"`` LiteRT trains the
one that has those kernels too. What still differs then is the arithmetic: float against float, and int8 activations
against float ones.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from text_table import table
from tqdm import tqdm

import tflite_export
from tflite_export import micro
from tflite_export.micro import host
from tflite_export.micro.state import pack, unpack
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import read_state, write_state

CALIBRATION = 32  # photographs
HEAD = "head/kernel"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of all runs: passes over the training half, Adam's rate at the start, and how bytes become the input."""

    epochs: int
    rate: float
    pixels: dict


class InC:
    """A generated program on this computer."""

    def __init__(self, model: keras.Model, folder: Path, calibration: np.ndarray, settings: Settings, **options):
        given = {**options, "calibration": calibration} if options else {}
        micro.generate(model, folder, name="learner", optimizer="adam", verify=False, **settings.pixels, **given)
        self.program = micro.HostProgram(folder, "learner", (*host.FLAGS, "-O3", "-march=native"))

    def begin(self, seed: int) -> None:
        self.program.reset()
        state = with_head_of(seed, unpack(self.program.manifest, self.program.save()))
        if self.program.restore(pack(self.program.manifest, state)):
            raise RuntimeError("the program refuses a state of its own")

    def step(self, pixels: np.ndarray, label: int, rate: float) -> None:
        self.program.train_step(pixels, label, rate)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self.program.infer(pixels)


class InLiteRT:
    """An exported file."""

    def __init__(self, model: keras.Model, folder: Path, _, settings: Settings, **options):
        self.settings, self.folder = settings, folder
        tflite_export.export(model, folder / "model.tflite", optimizer="adam", verify=False, **options)
        self.program = OnDeviceModel(folder / "model.tflite")

    def begin(self, seed: int) -> None:
        path = self.folder / "start.safetensors"
        self.program.reset()
        self.program.save(path)
        write_state(path, with_head_of(seed, read_state(path)))
        self.program.restore(path)

    def step(self, pixels: np.ndarray, label: int, rate: float) -> None:
        self.program.train_step(self._floats(pixels), np.array([label], np.int32), rate)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        return self.program.predict(self._floats(pixels))[0]

    def _floats(self, pixels: np.ndarray) -> np.ndarray:
        scale, offset = (np.float32(self.settings.pixels[name]) for name in ("input_scale", "input_offset"))
        return pixels[None].astype(np.float32) * scale + offset


TRAINERS = {
    "generated C, float": (InC, {}),
    "generated C, int8": (InC, {"activations": "int8"}),
    "LiteRT, int8 kernels": (InLiteRT, {"frozen": "int8"}),
    "LiteRT, float kernels": (InLiteRT, {}),
}


def compare(models: dict[str, keras.Model], photos, seeds, trainers, settings: Settings) -> None:
    """Trains every model from every seed by every trainer on half of the photographs, and tests on the other half.

    Args:
        models: by what the table calls them; their heads are drawn anew from each seed.
        photos: pixels uint8 [n, height, width, 3], and their classes [n].
        trainers: names of `TRAINERS`.
    """
    x, y = photos
    order = np.random.default_rng(0).permutation(len(y))
    train, test = order[: len(y) // 2], order[len(y) // 2 :]
    rows = []
    for method, model in models.items():
        for name in trainers:
            kind, options = TRAINERS[name]
            with tempfile.TemporaryDirectory() as folder:
                trainer = kind(model, Path(folder), x[train[:CALIBRATION]], settings, **options)
                outcomes = []
                for seed in seeds:
                    start = time.perf_counter()
                    outcomes.append(_learned(trainer, x, y, train, test, seed, settings))
                    print(method, name, seed, *outcomes[-1], f"{time.perf_counter() - start:.0f} s", flush=True)
            accuracies, losses = np.array(outcomes).T
            spread = accuracies.std(ddof=1) if len(seeds) > 1 else 0.0
            each = " ".join(f"{accuracy:.2f}" for accuracy in accuracies)
            rows.append([method, name, each, f"{accuracies.mean():.2f}", f"{spread:.2f}", f"{losses.mean():.3f}"])
    print(table(["method", "trained by", "accuracy %, by seed", "mean", "deviation", "loss"], rows, left=3))


def _learned(trainer, x, y, train, test, seed: int, settings: Settings) -> tuple[float, float]:
    """Accuracy in per cent and mean loss on the test half."""
    random, steps = np.random.default_rng([1, seed]), settings.epochs * len(train)
    rows = np.concatenate([random.permutation(train) for _ in range(settings.epochs)])
    trainer.begin(seed)
    for i, row in enumerate(tqdm(rows, desc=type(trainer).__name__)):
        trainer.step(x[row], y[row], settings.rate * 0.5 * (1 + np.cos(np.pi * i / steps)))
    logits = np.stack([trainer.logits(x[row]) for row in test])
    shifted = logits - logits.max(axis=1, keepdims=True)
    loss = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(test)), y[test]]
    return 100 * float(np.mean(logits.argmax(axis=1) == y[test])), float(loss.mean())


def with_head_of(seed: int, state):
    """`state`, with a kernel of the last layer drawn as Keras does it."""
    random, kernel = np.random.default_rng([2, seed]), state.tensors[HEAD]
    limit = np.sqrt(6 / sum(kernel.shape))
    tensors = {**state.tensors, HEAD: random.uniform(-limit, limit, kernel.shape).astype(np.float32)}
    return dataclasses.replace(state, tensors=tensors)


def with_only(model: keras.Model, names: set[str]) -> keras.Model:
    """A copy of `model` in which these weights alone train."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for variable in copy.trainable_variables:
        variable.trainable = variable.path in names
    return copy
