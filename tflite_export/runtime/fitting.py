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
from tflite_export.runtime.progress import ARGUMENTS, Best, Progress, Totals
from tflite_export.runtime.results import Evaluation, trained_in
from tflite_export.runtime.samples import Arrays, by_name, count_rows, each
from tflite_export.runtime.schedules import as_schedule

if TYPE_CHECKING:
    from tflite_export.runtime.on_device_model import OnDeviceModel

_CHECK_VALUES = 1 << 20  # checked at a time, so that a large set of uint8 images is never float32 as a whole


def run_fit(
    model: OnDeviceModel, x, y, epochs, batch_size, learning_rate, validation, augment, shuffle, seed, resume,
    restore_best, after_step, verbose,
) -> dict[str, list[float]]:  # fmt: skip
    """See `OnDeviceModel.fit`."""
    info = model.info
    epochs = checks.whole_number(epochs, "epochs", 1)
    start = Progress(
        samples=count_rows(checks.sample_shape(x, info)),
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
        images, labels = _checked_samples(model, *validation)
        validation = images, _labels_of(model, labels, slice(None))
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
        record = {**_of_totals(model, totals), "learning_rate": rate, "skipped_steps": totals.skipped}
        if validation is not None:
            result = model.evaluate(*validation)
            record |= _of_evaluation(model, result)
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


def _of_totals(model: OnDeviceModel, totals: Totals) -> dict[str, float]:
    """Losses and accuracies of an epoch, under their names in the history."""
    trained = trained_in(model._heads)
    if len(model._heads) == 1:
        return {"loss": totals.mean_loss, "accuracy": totals.accuracy if trained[0].loss.hits else math.nan}
    record = {"loss": totals.mean_loss}
    for head in trained:
        loss, correct, count = totals.outputs.get(head.name, (0.0, 0, 0))
        record[f"{head.name}_loss"] = loss / totals.count if totals.count else math.nan
        if head.loss.hits is not None:
            record[f"{head.name}_accuracy"] = correct / count if count else math.nan
    return record


def _of_evaluation(model: OnDeviceModel, result: Evaluation) -> dict[str, float]:
    if len(model._heads) == 1:
        record = {"validation_loss": result.loss, "validation_accuracy": result.accuracy}
        if model._main.loss.hits is None:
            record["validation_mean_absolute_error"] = result.mean_absolute_error
        return record
    record = {"validation_loss": result.loss}
    for head in trained_in(model._heads):
        own = result.outputs[head.name]
        record[f"validation_{head.name}_loss"] = own.loss
        if head.loss.hits is None:
            record[f"validation_{head.name}_mean_absolute_error"] = own.mean_absolute_error
        else:
            record[f"validation_{head.name}_accuracy"] = own.accuracy
    return record


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
                batch = each(lambda a: a[rows], x)  # noqa: B023, called at once
                batch = batch if augment is None else _augmented(augment, batch, info)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"fit stopped before step {step} (epoch {progress.epoch + 1}, batch {index + 1} of {steps}); the "
                    f"{step} steps before it stand, and resume=True goes on from there. {error}"
                ) from error
            with uninterrupted(), model._lock:  # variables and progress change together
                result = model.train_step(batch, _labels_of(model, y, rows), rate)
                model.fit_progress = model.fit_progress.after(result)
            shown = _of_totals(model, model.fit_progress.totals).items()
            shown = {n: f"{v:.3f}" if "accuracy" in n else f"{v:.4f}" for n, v in shown if not math.isnan(v)}
            bar.set_postfix(shown, refresh=False)
            bar.update()
            if after_step is not None:
                after_step(result)
    return rate


def _checked_samples(model: OnDeviceModel, x, y) -> tuple[Arrays, Arrays]:
    info = model.info
    x = checks.sample_shape(x, info)
    values = sum(a.size for a in (x.values() if isinstance(x, dict) else [x]))
    for part in slices(count_rows(x), max(1, _CHECK_VALUES * count_rows(x) // max(1, values))):
        model._model_input(each(lambda a: a[part], x), part.start)  # noqa: B023, called at once
    return x, model._labels(y, count_rows(x))


def _labels_of(model: OnDeviceModel, y: Arrays, rows: np.ndarray | slice) -> Arrays:
    """Rows of checked labels, in the form that a user gives them in: by the names of the outputs."""
    if not isinstance(y, dict):
        return y[rows]
    return {head.name: y[head.labels][rows] for head in trained_in(model._heads)}


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


def _augmented(augment, batch: Arrays, info: dict) -> Arrays:
    """What `augment` makes of `batch`, checked."""
    result = augment(batch)
    result = by_name(result, list(batch), "What augment returns") if isinstance(batch, dict) else np.asarray(result)
    for name, array in batch.items() if isinstance(batch, dict) else [("x", batch)]:
        new = np.shape(result[name] if isinstance(batch, dict) else result)
        if new != array.shape:
            raise ValueError(f"augment must keep the shape {list(array.shape)}. It returned: {list(new)}")
    try:
        checks.model_input(result, info)
    except (TypeError, ValueError) as error:
        raise ValueError(f"What augment returned cannot be used: {error}") from error
    return result
