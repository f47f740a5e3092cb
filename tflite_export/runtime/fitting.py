"""The loop behind `OnDeviceModel.fit`: epochs, order, progress, and how to go on after an interruption."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from tflite_export.runtime import checks
from tflite_export.runtime.batches import epoch_order, slices
from tflite_export.runtime.schedules import as_schedule

if TYPE_CHECKING:
    from tflite_export.runtime.on_device_model import OnDeviceModel, StepResult

_CHECK_ROWS = 256  # checked at a time, so that a large set of uint8 images is never float32 as a whole


@dataclasses.dataclass
class _Means:
    """Running totals of an epoch."""

    loss: float = 0.0
    correct: int = 0
    count: int = 0
    skipped: int = 0

    def add(self, result: StepResult) -> None:
        self.skipped += result.skipped
        if not result.skipped:
            self.loss += result.loss * result.count
            self.correct += result.correct
            self.count += result.count

    @property
    def mean_loss(self) -> float:
        return self.loss / self.count if self.count else float("nan")

    @property
    def accuracy(self) -> float:
        return self.correct / self.count if self.count else float("nan")


def run_fit(
    model: OnDeviceModel, x, y, epochs, batch_size, learning_rate, validation, augment, shuffle, seed, resume, verbose
) -> dict[str, list[float]]:
    """See `OnDeviceModel.fit`."""
    info = model.info
    x, y = _checked_samples(x, y, info)
    schedule = as_schedule(learning_rate)
    size = _checked_batch_size(batch_size, info["batch_size"])
    if epochs < 1 or not len(x):
        raise ValueError(f"fit needs at least one epoch and one sample. Received: epochs={epochs}, {len(x)} samples")
    if validation is not None:
        validation = _checked_samples(*validation, info)
    run = {"samples": len(x), "batch_size": size, "shuffle": bool(shuffle), "seed": int(seed)}
    first_epoch, position = _starting_point(model.fit_progress, run) if resume else (0, 0)

    steps_per_epoch = -(-len(x) // size)
    history: dict[str, list[float]] = {}
    for epoch in range(first_epoch, epochs):
        order = epoch_order(len(x), shuffle, seed, epoch)
        means = _Means()
        bar = tqdm(total=steps_per_epoch, initial=position, desc=f"epoch {epoch + 1}/{epochs}", disable=not verbose)
        with bar:
            for index, part in list(enumerate(slices(len(x), size)))[position:]:
                rows = order[part]
                rate = schedule(epoch * steps_per_epoch + index)
                batch = x[rows] if augment is None else _augmented(augment, x[rows])
                means.add(model.train_step(batch, y[rows], rate))
                model.fit_progress = {**run, "epoch": epoch, "position": index + 1}
                bar.set_postfix(loss=f"{means.mean_loss:.4f}", accuracy=f"{means.accuracy:.3f}", refresh=False)
                bar.update()
        position = 0
        record = {"loss": means.mean_loss, "accuracy": means.accuracy, "learning_rate": rate}
        record["skipped_steps"] = means.skipped
        if validation is not None:
            result = model.evaluate(*validation)
            record |= {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
        for name, value in record.items():
            history.setdefault(name, []).append(value)
    model.fit_progress = None
    return history


def _checked_samples(x, y, info) -> tuple[np.ndarray, np.ndarray]:
    x = checks.sample_shape(x, info)
    for part in slices(len(x), _CHECK_ROWS):
        checks.model_input(x[part], info, part.start)
    return x, checks.labels(y, len(x), info)


def _checked_batch_size(batch_size: int | None, largest: int) -> int:
    if batch_size is None:
        return largest
    if not 1 <= batch_size <= largest:
        raise ValueError(
            f"This file trains on batches of 1 to {largest} rows. Received: batch_size={batch_size}. "
            f"Export with batch_size={batch_size} for larger ones."
        )
    return int(batch_size)


def _starting_point(progress: dict | None, run: dict) -> tuple[int, int]:
    """Epoch, and batches of it that are done."""
    if progress is None:
        raise ValueError("There is no interrupted fit to resume. Call fit without resume=True.")
    different = {name: (progress[name], value) for name, value in run.items() if progress[name] != value}
    if different:
        changes = ", ".join(f"{name} was {before} and is {now}" for name, (before, now) in different.items())
        raise ValueError(f"The interrupted fit cannot be resumed with other arguments: {changes}.")
    steps = -(-run["samples"] // run["batch_size"])
    return divmod(progress["epoch"] * steps + progress["position"], steps)


def _augmented(augment, batch: np.ndarray) -> np.ndarray:
    result = np.asarray(augment(batch))
    if result.shape != batch.shape:
        raise ValueError(f"augment must keep the shape {list(batch.shape)}. It returned: {list(result.shape)}")
    return result
