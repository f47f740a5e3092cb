"""OnDeviceModel: one exported .tflite file that infers, trains, and keeps what it learned."""

from __future__ import annotations

import copy
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tflite_export.runtime import checks
from tflite_export.runtime.accumulation import accumulated_step
from tflite_export.runtime.batches import pad_rows, slices
from tflite_export.runtime.fitting import run_fit
from tflite_export.runtime.heads import Head, checked_labels, heads_in
from tflite_export.runtime.info import describes_several
from tflite_export.runtime.labels import pad_labels
from tflite_export.runtime.lock import exclusive
from tflite_export.runtime.model_file import open_model
from tflite_export.runtime.progress import Progress
from tflite_export.runtime.results import Evaluation, StepResult, Tally, evaluation, main_of, step_result, trained_in
from tflite_export.runtime.samples import Arrays, count_rows, each
from tflite_export.runtime.scale_warning import level_of_caller
from tflite_export.runtime.schedules import Schedule, checked_rate
from tflite_export.runtime.signatures import Signatures
from tflite_export.runtime.state import State, check_belongs, merged_class_names, read_latest_state, write_state


class OnDeviceModel:
    """A file that `tflite_export.export` wrote, with the variables it trains.

    Several threads may share it, and get it in turn: `predict` in a second thread runs between two steps of `fit`, all
    of its rows with the same variables.

    Args:
        path: The .tflite file. It stays mapped and must not be written to; replacing it by renaming is safe.
        state: A file that `save` wrote, restored at once as `restore` does.
        num_threads: Threads of the kernels; None is LiteRT's default.

    Attributes:
        steps: Training steps since the factory weights that changed something: all but those without a valid row and
            the skipped ones. Adam's own count is the same.
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
        self._path = Path(path).absolute()
        self._num_threads = num_threads
        self._signatures = None
        self._lock = threading.RLock()  # held by whatever runs the interpreter
        self._fitting = threading.Lock()  # held while fit runs
        self.reset()
        if state is not None:
            self.restore(state)

    @property
    def info(self) -> dict:
        """What the file says about itself (see `tflite_export.runtime.info`), with the class names added since."""
        return copy.deepcopy(self._info)

    @property
    def class_names(self) -> list[str] | None:
        """The names known so far, those of the file and those added since; None if the file names no classes."""
        return copy.copy(self._info["class_names"])

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Of the output for one sample: (classes,), unless the model is one for regression or reconstruction.

        Of several outputs it is that of the main one (see `Evaluation`); ``info["heads"]`` has them all.
        """
        heads = self._heads
        return heads[0].shape if len(heads) == 1 else main_of(trained_in(heads)).shape

    @exclusive
    def train_step(self, x: Arrays, y: Arrays, learning_rate: float) -> StepResult:
        """One step of the optimizer.

        Args:
            x: [n, *input_shape] with 1 <= n <= batch_size. Integers are images and become
                ``x * input_scale + input_offset``; floating point numbers are taken as already scaled, with one
                warning if they do not look it. For an integer input of the model, integers. Of a model with several
                inputs, a dict of such arrays by Keras's names of the inputs, or a list in Keras's order.
            y: What the file's loss takes; a row that is marked as follows does not count.

                - "sparse_categorical_crossentropy": integer class indices, [n]; −1 marks a row.
                - "categorical_crossentropy": one-hot rows, or probabilities that sum to 1, [n, classes].
                - "binary_crossentropy": numbers in [0, 1], [n, classes].
                - "mean_squared_error": numbers, [n, *output_shape]. In these three a NaN marks its row.

                An output [batch, …, classes] has a label at every place, [n, …] or [n, …, classes], and every place is
                a row. Of a model with several outputs, a dict of such by the names of the outputs that train, or a list
                in their order; a sample may have labels for some of them.
            learning_rate: Finite and >= 0.

        Raises:
            TypeError, ValueError: If an argument is wrong (shape, dtype, label, NaN). No variable has then changed.
        """
        x = self._model_input(x)
        count, rows = count_rows(x), self._info["batch_size"]
        y = self._labels(y, count)
        if not 1 <= count <= rows:
            raise ValueError(
                f"This file trains on batches of 1 to {rows} rows. Received: {count} rows. Use fit, which cuts them "
                f"up, or export with another batch_size."
            )
        rate = checked_rate(learning_rate)
        if self._info["micro_batch"] is None:
            padded = each(lambda a: pad_rows(a, rows), x), each(lambda a: pad_labels(a, rows), y)
            results = self._signatures.train(*padded, rate)
            skipped = math.isnan(results["loss"][0])  # an infinite one float32 cannot hold; the step was taken
        else:
            results, skipped = accumulated_step(self._signatures, x, y, rate, self._info["micro_batch"])
        result = step_result(self._heads, y, results, skipped)
        self.steps += bool(result.count and not skipped)
        self.skipped_steps += skipped
        return result

    def _model_input(self, x: Arrays, first_row: int = 0) -> Arrays:
        """`checks.model_input`, and the first time that floating point numbers do not look scaled, a warning."""
        x = checks.sample_shape(x, self._info)
        result = checks.model_input(x, self._info, first_row)
        if not self._warned_of_scale:
            self._warned_of_scale = checks.warn_of_scale(x, self._info)
        return result

    def _labels(self, y: Arrays, count: int) -> Arrays:
        return checked_labels(self._heads, y, count)

    @property
    def _heads(self) -> tuple[Head, ...]:
        return heads_in(self._info, () if describes_several(self._info) else self._signatures.output_shape)

    @property
    def _main(self) -> Head:
        """The output that class names belong to."""
        return main_of(trained_in(self._heads))

    def fit(
        self,
        x: Arrays,
        y: Arrays,
        epochs: int,
        batch_size: int | None = None,
        learning_rate: float | Schedule = 0.01,
        validation: tuple[Arrays, Arrays] | None = None,
        augment: Callable[[Arrays], Arrays] | None = None,
        shuffle: bool = True,
        seed: int = 0,
        *,
        resume: bool = False,
        restore_best: bool = False,
        after_step: Callable[[StepResult], None] | None = None,
        verbose: bool = True,
    ) -> dict[str, list[float]]:
        """Trains for a number of epochs.

        Args:
            x: [n, *input_shape], as in `train_step`; all of it is checked before the first step.
            y: As in `train_step`, checked likewise: integer class indices, [n], for the usual loss. A row whose index
                is −1 (with the other losses: one that holds a NaN) does not count.
            epochs: Passes over the samples.
            batch_size: Rows per step, at most the file's batch_size, which is the default. A step of fewer rows is the
                exact mean over them (but takes as long as a full one).
            learning_rate: A number; or ``tflite_export.runtime.cosine(0.05)``, a rate that falls to 0 over all steps of
                this fit; or any callable from the step (counted through all epochs, from 0) to a number.
            validation: ``(x, y)`` to evaluate on after every epoch.
            augment: A callable from a batch of x, as given (not yet scaled), to an array of the same shape; of several
                inputs from a dict to a dict.
            shuffle: Whether every epoch visits the samples in a new order.
            seed: Of that order.
            resume: Go on where an interrupted `fit` on the same samples stopped, also after `save` and `restore`: to
                the bit as if it had never stopped, with the same number of threads.
            restore_best: At the end, go back to the variables (the optimizer's and `steps` too) of the epoch with the
                lowest loss on `validation`. They are held as arrays, and saved with an unfinished fit.
            after_step: Called with each step's result when it is counted, so that a `save` there loses nothing.
            verbose: Whether to show a progress bar.

        Returns:
            One entry per epoch under each of "loss", "accuracy", "learning_rate" (of the last step), "skipped_steps"
            and, with validation, "validation_loss" and "validation_accuracy". Loss and accuracy are means over what the
            steps of the epoch saw; skipped steps are left out. Accuracies are NaN with "mean_squared_error", which has
            "validation_mean_absolute_error" besides. Of a model with several outputs there are, as in Keras,
            "<output>_loss" and "<output>_accuracy", and "validation_…" of each, in place of "accuracy". A resumed fit
            begins with the epoch that was interrupted, and reports it as a whole.

        Raises:
            TypeError, ValueError: If an argument is wrong; no variable has then changed, except that what `augment` or
                a schedule returns can only be checked when it is used. The message then names the step. Nor is it known
                before its step whether an embedding has the row of an index.
            RuntimeError: If a `fit` of this object is running already.
            KeyboardInterrupt: Ctrl-C, when the step that runs is counted; ``resume=True`` goes on.
        """
        if not self._fitting.acquire(blocking=False):
            raise RuntimeError("A fit of this model is running already. Wait for its end, or interrupt it.")
        try:
            return run_fit(
                self, x, y, epochs, batch_size, learning_rate, validation, augment, shuffle, seed, resume,
                restore_best, after_step, verbose,
            )  # fmt: skip
        finally:
            self._fitting.release()

    @exclusive
    def predict(self, x: Arrays) -> Arrays:
        """What the Keras model would return, float32 [n, *output_shape], for x as in `train_step` with any n.

        Of a model with several outputs it is a dict of such arrays by Keras's names of the outputs.

        That is probabilities only if the model ends in a softmax or sigmoid. Where ``info["output_activation"]`` is
        "linear", as with the new head of `tinytl_keras.convert`, it is logits: the largest is still the likeliest
        class, and probabilities are their softmax (with "binary_crossentropy" their sigmoid).

        A spare output, one that has no class name, is never the largest: it is 0 where the outputs are probabilities
        and −infinity where they are linear. Only the categorical losses know spare outputs.
        """
        x = checks.sample_shape(x, self._info)
        heads, main = self._heads, self._main
        results = {head.name: np.empty((count_rows(x), *head.shape), np.float32) for head in heads}
        for part, outputs in self._infer(x):
            for name, result in results.items():
                result[part] = outputs[name]
        if main.named_classes < main.info["classes"]:
            spare = -np.inf if main.info["output_activation"] == "linear" else 0.0
            results[main.name][..., main.named_classes :] = spare
        return results if len(heads) > 1 else results[main.name]

    @exclusive
    def evaluate(self, x: Arrays, y: Arrays) -> Evaluation:
        """The loss over all outputs, as in training, and the accuracy of `predict`, as in `StepResult`.

        Penalties of trainable weights (kernel_regularizer) are part of the loss, as in Keras.

        Args:
            x, y: As in `train_step`, with any n; rows marked as there are left out.

        Raises:
            TypeError, ValueError: If an argument is wrong, as in `train_step`.
        """
        x = checks.sample_shape(x, self._info)
        y, heads = self._labels(y, count_rows(x)), self._heads
        tallies = [Tally(head) for head in trained_in(heads)]
        for part, outputs in self._infer(x):
            for tally in tallies:
                tally.add(outputs, (y[tally.head.labels] if isinstance(y, dict) else y)[part])
        return evaluation(heads, tallies, y, self._penalty())

    def _penalty(self) -> float:
        """Keras's ``l2 * sum(weight ** 2)`` of every weight that has such a regularizer."""
        if not (l2 := self._info.get("l2")):
            return 0.0
        weights = self._signatures.save()
        return float(sum(factor * np.square(weights[name].astype(np.float64)).sum() for name, factor in l2.items()))

    def _infer(self, x: Arrays) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
        """Rows of x, with all outputs of ``infer`` by name, in chunks of at most infer_batch_size."""
        rows = self._info["infer_batch_size"]
        for part in slices(count_rows(x), rows):
            chunk = self._model_input(each(lambda a: a[part], x), part.start)  # noqa: B023, called at once
            outputs = self._signatures.infer(each(lambda a: pad_rows(a, rows), chunk))
            yield part, {name: value[: part.stop - part.start] for name, value in outputs.items()}

    @exclusive
    def add_class(self, name: str) -> int:
        """Names the next spare output of the head, so that it can be trained and predicted; returns its index.

        Raises:
            TypeError: If `name` is no string.
            ValueError: If the file names no classes, the name is empty or taken, or no output is spare.
        """
        names = self._info["class_names"]
        if not isinstance(name, str):
            raise TypeError(f"The name of a class must be a string. Received: {name!r} of type {type(name).__name__}")
        if not name.strip():
            raise ValueError(f"The name of a class must not be empty. Received: {name!r}")
        if not self._main.loss.spare_outputs:
            raise ValueError(f"With the loss {self._info['loss']!r} every output counts in training; none is spare.")
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

    @exclusive
    def save(self, path: str | os.PathLike, keep: int = 1) -> None:
        """Writes every variable to a safetensors file, whole or not at all, also if the power fails.

        The .tflite file itself never changes: ``OnDeviceModel("model.tflite", state="state.safetensors")`` goes on.

        Args:
            path: Of the file.
            keep: How many states stand on the disk afterwards, this one included. With 3, "state.1.safetensors" is the
                one before, "state.2.safetensors" the one before that; `restore` takes the newest good one.

        Raises:
            OSError: If it cannot be written, for instance because the folder is missing; what stood at `path` before
                still does.
            ValueError: If `path` is that of a .tflite file.
        """
        info = self._info
        write_state(
            path,
            State(
                self._signatures.save(), info["fingerprint"], self.steps, info["class_names"],
                self.fit_progress, self._best,
            ),
            keep,
        )  # fmt: skip

    @exclusive
    def restore(self, path: str | os.PathLike) -> None:
        """Puts back what `save` wrote, here or on another device. The file's own class names stay as they are.

        If the file is damaged and `save` kept former states beside it, the newest good one of them is taken, with a
        warning that names both.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is damaged, of another model or optimizer, or names the file's classes differently; the
                message names what differs. Nothing has then changed.
            RuntimeError: If a `fit` of this model is running.
        """
        self._refuse_during_fit("restore")
        state, damage = read_latest_state(path)
        check_belongs(state, self._signatures.variables(), self._info["fingerprint"])
        names = merged_class_names(self._file_class_names, state.class_names, self._info["classes"])
        if damage is not None:
            warnings.warn(damage, stacklevel=level_of_caller())
        self._signatures.restore(state.tensors)
        self._info["class_names"] = names
        self.fit_progress, self._best = state.progress, state.best
        self.steps = state.step

    @exclusive
    def reset(self) -> None:
        """Back to the file as it was exported: factory weights, its class names, no steps taken.

        The file is read again: if another was put in its place meanwhile, it is that one from now on.

        Raises:
            FileNotFoundError, ValueError: If it is gone or damaged; nothing has then changed.
            RuntimeError: If a `fit` of this model is running.
        """
        self._refuse_during_fit("reset")
        info = open_model(self._path)
        self._signatures = None  # let go of the old interpreter before the new one takes its memory
        self._signatures = Signatures(self._path, self._num_threads, info["kernels"])
        self._info, self._file_class_names = info, copy.copy(info["class_names"])
        self.fit_progress: Progress | None = None
        self._best: dict[str, np.ndarray] | None = None  # the variables of fit_progress.best
        self.steps = 0
        self.skipped_steps = 0
        self._warned_of_scale = False

    def _refuse_during_fit(self, verb: str) -> None:
        if self._fitting.locked():
            raise RuntimeError(f"{verb} would pull the variables from under a running fit. Wait for its end.")
