"""OnDeviceModel: one exported .tflite file that infers, trains, and keeps what it learned."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Callable

import numpy as np

from tflite_export.runtime import checks
from tflite_export.runtime.batches import IGNORED, pad_rows, slices
from tflite_export.runtime.fitting import run_fit
from tflite_export.runtime.model_file import open_model
from tflite_export.runtime.schedules import Schedule, checked_rate
from tflite_export.runtime.signatures import Signatures
from tflite_export.runtime.state import State, check_belongs, read_state, write_state


@dataclasses.dataclass(frozen=True)
class StepResult:
    """Of one training step: mean loss and number correct over `count` valid rows, both from before the update.

    `skipped` is True where the network's outputs were not finite; the file has then changed nothing.
    """

    loss: float
    correct: int
    count: int
    skipped: bool


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy over `count` valid rows; NaN where there are none."""

    loss: float
    accuracy: float
    count: int


class OnDeviceModel:
    """A file that `tflite_export.export` wrote, with the variables it trains.

    Args:
        path: The .tflite file.
        state: A file that `save` wrote, restored at once.
        num_threads: Threads of the kernels; None is LiteRT's default.

    Attributes:
        steps: Training steps taken since the factory weights.
        skipped_steps: How many of the steps that this object took changed nothing, because the network's outputs were
            not finite.
        fit_progress: Where an interrupted `fit` stands, for its ``resume=True``; None if none was interrupted.

    Raises:
        FileNotFoundError: If one of the files does not exist.
        ValueError: If the file is truncated, foreign or has no training signatures; if the state is another model's.

    Example::

        model = OnDeviceModel("model.tflite")
        model.fit(images, labels, epochs=5, learning_rate=0.05)
        model.save("state.safetensors")
    """

    def __init__(self, path: str | os.PathLike, state: str | os.PathLike | None = None, num_threads: int | None = None):
        self._content, self._factory_info = open_model(path)
        self._num_threads = num_threads
        self._start()
        if state is not None:
            self.restore(state)

    def _start(self):
        self._signatures = None  # let go of the old interpreter before the new one takes its memory
        self._signatures = Signatures(self._content, self._num_threads)
        self._info = copy.deepcopy(self._factory_info)
        self.fit_progress: dict | None = None
        self.steps = 0
        self.skipped_steps = 0

    @property
    def info(self) -> dict:
        """What the file says about itself (see `tflite_export.runtime.info`), with the class names added since."""
        return copy.deepcopy(self._info)

    def train_step(self, x: np.ndarray, y: np.ndarray, learning_rate: float) -> StepResult:
        """One step of the optimizer.

        Args:
            x: [n, *input_shape] with 1 <= n <= batch_size. Integers are images and become
                ``x * input_scale + input_offset``; floating point numbers are taken as already scaled.
            y: Integer class indices, [n]; −1 marks a row that does not count.
            learning_rate: Finite and >= 0.

        Raises:
            TypeError, ValueError: If an argument is wrong (shape, dtype, label, NaN). No variable has then changed.
        """
        x, y = checks.model_input(x, self._info), np.asarray(y)
        y = checks.labels(y, len(x), self._info)
        rows = self._info["batch_size"]
        if not 1 <= len(x) <= rows:
            raise ValueError(
                f"This file trains on batches of 1 to {rows} rows. Received: {len(x)} rows. Use fit, which cuts them "
                f"up, or export with another batch_size."
            )
        count = int((y != IGNORED).sum())
        rate = checked_rate(learning_rate)
        loss, correct = self._signatures.train(pad_rows(x, rows), pad_rows(y, rows, IGNORED), rate)
        skipped = not math.isfinite(loss)
        self.steps += 1
        self.skipped_steps += skipped
        return StepResult(loss, correct, count, skipped)

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        epochs: int,
        batch_size: int | None = None,
        learning_rate: float | Schedule = 0.01,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        augment: Callable[[np.ndarray], np.ndarray] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        *,
        resume: bool = False,
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Trains for a number of epochs.

        Args:
            x: [n, *input_shape], as in `train_step`; all of it is checked before the first step.
            y: Integer class indices, [n].
            epochs: Passes over the samples.
            batch_size: Rows per step, at most the file's batch_size, which is the default. A step of fewer rows is the
                exact mean over them (but takes as long as a full one).
            learning_rate: A number, or a callable from the step (counted through all epochs, from 0) to a number, like
                `tflite_export.runtime.cosine`.
            validation: ``(x, y)`` to evaluate on after every epoch.
            augment: A callable from a batch of x, as given (not yet scaled), to an array of the same shape.
            shuffle: Whether every epoch visits the samples in a new order.
            seed: Of that order.
            resume: Go on where an interrupted `fit` on the same samples stopped, also after `save` and `restore`.
            verbose: Whether to show a progress bar.

        Returns:
            One entry per epoch under each of "loss", "accuracy", "learning_rate" (of the last step), "skipped_steps"
            and, with validation, "validation_loss" and "validation_accuracy". Loss and accuracy are means over what the
            steps of the epoch saw; skipped steps are left out.

        Raises:
            TypeError, ValueError: If an argument is wrong; no variable has then changed, except that what `augment` or
                a schedule returns can only be checked when it is used.
        """
        return run_fit(
            self, x, y, epochs, batch_size, learning_rate, validation, augment, shuffle, seed, resume, verbose
        )

    def predict(self, x: np.ndarray) -> np.ndarray:
        """What the Keras model would return, float32 [n, classes], for x as in `train_step` with any n.

        A spare output, one that has no class name, is never the largest: it is 0 where the outputs are probabilities
        (softmax, sigmoid), −infinity where they are linear.
        """
        output, _ = self._infer(x)
        if self._named < self._info["classes"]:
            output[:, self._named :] = -np.inf if self._info["output_activation"] == "linear" else 0.0
        return output

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> Evaluation:
        """Cross-entropy over all outputs, as in training, and the accuracy of `predict`; rows labelled −1 are left out.

        Raises:
            TypeError, ValueError: If an argument is wrong, as in `train_step`.
        """
        x = checks.sample_shape(x, self._info)
        checked = checks.labels(y, len(x), self._info)
        _, logits = self._infer(x)
        valid = checked != IGNORED
        logits, checked = logits[valid].astype(np.float64), checked[valid]
        if not len(checked):
            return Evaluation(math.nan, math.nan, 0)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        smoothing = self._info["label_smoothing"]
        losses = (smoothing - 1) * log_probabilities[np.arange(len(checked)), checked]
        losses -= smoothing * log_probabilities.mean(axis=1)
        hits = logits[:, : self._named].argmax(axis=1) == checked
        return Evaluation(float(losses.mean()), float(hits.mean()), len(checked))

    def _infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Output and logits, float32 [n, classes]; chunks of infer_batch_size, the last one padded with zeros."""
        x = checks.sample_shape(x, self._info)
        rows, classes = self._info["infer_batch_size"], self._info["classes"]
        output, logits = np.empty((2, len(x), classes), np.float32)
        for part in slices(len(x), rows):
            chunk = checks.model_input(x[part], self._info, part.start)
            results = self._signatures.infer(pad_rows(chunk, rows))
            output[part], logits[part] = (result[: len(chunk)] for result in results)
        return output, logits

    @property
    def _named(self) -> int:
        names = self._info["class_names"]
        return self._info["classes"] if names is None else len(names)

    def add_class(self, name: str) -> int:
        """Names the next spare output of the head, so that it can be trained and predicted; returns its index.

        Raises:
            ValueError: If the file names no classes, the name is taken, or no output is spare.
        """
        names = self._info["class_names"]
        if names is None:
            raise ValueError("The file names no classes, so all its outputs are in use. Export with class_names=[…].")
        if name in names:
            raise ValueError(f"There is a class {name!r} already, at index {names.index(name)}.")
        if len(names) == self._info["classes"]:
            raise ValueError(
                f"All {len(names)} outputs have a name: {names}. Convert with a larger num_classes to keep some spare."
            )
        names.append(name)
        return len(names) - 1

    def save(self, path: str | os.PathLike) -> None:
        """Writes every variable to a safetensors file, whole or not at all.

        Raises:
            OSError: If it cannot be written; what stood at `path` before still does.
        """
        info = self._info
        write_state(
            path,
            State(self._signatures.save(), info["fingerprint"], self.steps, info["class_names"], self.fit_progress),
        )

    def restore(self, path: str | os.PathLike) -> None:
        """Puts back what `save` wrote, here or on another device.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, or another model's; the message names what differs. Nothing has then changed.
        """
        state = read_state(path)
        check_belongs(state, self._signatures.variables(), self._info["fingerprint"])
        self._signatures.restore(state.tensors)
        self._info["class_names"] = copy.copy(state.class_names)
        self.fit_progress = state.progress
        self.steps = state.step

    def reset(self) -> None:
        """Back to the file as it was exported: factory weights, its class names, no steps taken."""
        self._start()
