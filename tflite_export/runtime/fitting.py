"""The loop behind `OnDeviceModel.fit`: epochs, order, progress, and how to go on after an interruption."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np
from tqdm.auto import tqdm

from tflite_export.runtime import checks
from tflite_export.runtime.batches import epoch_order, slices
from tflite_export.runtime.interruption import uninterrupted
from tflite_export.runtime.losses import LOSSES
from tflite_export.runtime.progress import ARGUMENTS, Best, Progress
from tflite_export.runtime.schedules import as_schedule

if TYPE_CHECKING:
    from tflite_export.runtime.on_device_model import OnDeviceModel

_CHECK_ROWS = 256  # checked at a time, so that a large set of uint8 images is never float32 as a whole


def run_fit(
    model: OnDeviceModel, x, y, epochs, batch_size, learning_rate, validation, augment, shuffle, seed, resume,
    restore_best, after_step, verbose,
) -> dict[str, list[float]]:  # fmt: skip
    """See `OnDeviceModel.fit`."""
    info = model.info
    epochs = checks.whole_number(epochs, "epochs", 1)
    start = Progress(
        samples=len(checks.sample_shape(x, info)),
        batch_size=_checked_batch_size(batch_size, info["batch_size"]),
        shuffle=bool(shuffle),
        seed=checks.whole_number(seed, "seed", 0),
    )
    if not start.samples:
        raise ValueError("fit needs at least one sample. Received: x with 0 rows")
    if augment is not None and not callable(augment):
        raise TypeError(f"augment must be a function from a batch to a batch. Received: {augment!r}")
    if restore_best and validation is None:
        raise ValueError("restore_best needs validation=(x, y) to tell the best epoch by. Received: validation=None")
    schedule = as_schedule(learning_rate, epochs * start.steps_per_epoch)
    x, y = _checked_samples(model, x, y)
    if validation is not None:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError(f"validation must be a pair (x, y). Received: {type(validation).__name__}")
        validation = _checked_samples(model, *validation)
    progress = _interrupted(model.fit_progress, start, epochs) if resume else start
    with uninterrupted(), model._lock:
        best = model._best if resume and restore_best else None
        model.fit_progress, model._best = dataclasses.replace(progress, best=best and progress.best), best

    history: dict[str, list[float]] = {}
    for epoch in range(model.fit_progress.epoch, epochs):
        if epoch > model.fit_progress.epoch:
            model.fit_progress = model.fit_progress.next_epoch()
        rate = _run_epoch(model, x, y, schedule, augment, after_step, f"epoch {epoch + 1}/{epochs}", verbose)
        totals = model.fit_progress.totals
        record = {"loss": totals.mean_loss, "accuracy": totals.accuracy, "learning_rate": rate}
        record["skipped_steps"] = totals.skipped
        if LOSSES[info["loss"]].hits is None:
            record["accuracy"] = float("nan")
        if validation is not None:
            result = model.evaluate(*validation)
            record |= {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
            if restore_best:
                _note_if_best(model, result.loss)
        for name, value in record.items():
            history.setdefault(name, []).append(value)
    with uninterrupted(), model._lock:
        if model._best is not None:
            model._signatures.restore(model._best)
            model.steps = model.fit_progress.best.step
        model.fit_progress, model._best = None, None
    return history


def _note_if_best(model: OnDeviceModel, loss: float) -> None:
    """Remembers the variables if `loss`, on the validation samples, is the lowest so far; NaN is not."""
    best = model.fit_progress.best
    if not math.isnan(loss) and (best is None or loss < best.loss):
        with uninterrupted(), model._lock:
            model._best = model._signatures.save()
            best = Best(model.fit_progress.epoch, loss, model.steps)
            model.fit_progress = dataclasses.replace(model.fit_progress, best=best)


def _run_epoch(model: OnDeviceModel, x, y, schedule, augment, after_step, title: str, verbose: bool) -> float:
    """What is left of the epoch. Returns the rate of its last step."""
    info, progress = model.info, model.fit_progress
    steps, done = progress.steps_per_epoch, progress.position
    first_step = progress.epoch * steps
    rate = schedule(first_step + steps - 1) if done == steps else None
    order = epoch_order(progress.samples, progress.shuffle, progress.seed, progress.epoch)
    with tqdm(total=steps, initial=done, desc=title, disable=not verbose) as bar:
        for index, part in list(enumerate(slices(progress.samples, progress.batch_size)))[done:]:
            rows, step = order[part], first_step + index
            try:
                rate = schedule(step)
                batch = x[rows] if augment is None else _augmented(augment, x[rows], info)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"fit stopped before step {step} (epoch {progress.epoch + 1}, batch {index + 1} of {steps}); the "
                    f"{step} steps before it stand, and resume=True goes on from there. {error}"
                ) from error
            with uninterrupted(), model._lock:  # variables and progress change together
                result = model.train_step(batch, y[rows], rate)
                model.fit_progress = model.fit_progress.after(result)
            totals = model.fit_progress.totals
            shown = {"loss": f"{totals.mean_loss:.4f}", "accuracy": f"{totals.accuracy:.3f}"}
            bar.set_postfix(shown if LOSSES[info["loss"]].hits else {"loss": shown["loss"]}, refresh=False)
            bar.update()
            if after_step is not None:
                after_step(result)
    return rate


def _checked_samples(model: OnDeviceModel, x, y) -> tuple[np.ndarray, np.ndarray]:
    info = model.info
    x = checks.sample_shape(x, info)
    for part in slices(len(x), _CHECK_ROWS):
        model._model_input(x[part], part.start)
    return x, LOSSES[info["loss"]].labels(y, len(x), info, model.output_shape)


def _checked_batch_size(batch_size: int | None, largest: int) -> int:
    if batch_size is None:
        return largest
    if not 1 <= checks.whole_number(batch_size, "batch_size", 0) <= largest:
        raise ValueError(
            f"This file trains on batches of 1 to {largest} rows. Received: batch_size={batch_size}. "
            f"Export with batch_size={batch_size} for larger ones."
        )
    return int(batch_size)


def _interrupted(progress: Progress | None, start: Progress, epochs: int) -> Progress:
    """Where to go on: in the epoch that was interrupted, even if only its validation is left."""
    if progress is None:
        raise ValueError("There is no interrupted fit to resume. Call fit without resume=True.")
    different = [name for name in ARGUMENTS if getattr(progress, name) != getattr(start, name)]
    if different:
        changes = ", ".join(f"{name} was {getattr(progress, name)} and is {getattr(start, name)}" for name in different)
        raise ValueError(f"The interrupted fit cannot be resumed with other arguments: {changes}.")
    if progress.epoch >= epochs:
        raise ValueError(f"The interrupted fit is in epoch {progress.epoch + 1} already. Received: epochs={epochs}")
    return progress


def _augmented(augment, batch: np.ndarray, info: dict) -> np.ndarray:
    """What `augment` makes of `batch`, checked."""
    result = np.asarray(augment(batch))
    if result.shape != batch.shape:
        raise ValueError(f"augment must keep the shape {list(batch.shape)}. It returned: {list(result.shape)}")
    try:
        checks.model_input(result, info)
    except (TypeError, ValueError) as error:
        raise ValueError(f"What augment returned cannot be used: {error}") from error
    return result
