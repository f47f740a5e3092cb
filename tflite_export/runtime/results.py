"""What a training step and an evaluation report."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tflite_export.runtime.heads import Head, rows_that_count
from tflite_export.runtime.labels import counted
from tflite_export.runtime.losses import LOSSES
from tflite_export.runtime.samples import Arrays


@dataclasses.dataclass(frozen=True)
class OutputResult:
    """Of one of several outputs: its part of the loss, before weighting, and its number correct over `count` rows."""

    loss: float
    correct: int
    count: int


@dataclasses.dataclass(frozen=True)
class StepResult:
    """Of one training step: mean loss and number correct over `count` valid rows, both from before the update.

    Correct is a row whose largest output is the label's ("…categorical_crossentropy"), or whose outputs are all on the
    right side of one half ("binary_crossentropy"); with "mean_squared_error" none is. Of an output [batch, …, classes]
    every place is a row.

    `skipped` is True where the network's outputs, or with micro-batches its gradients, were not finite; the file has
    then changed nothing.

    Of a file with several outputs `loss` is their weighted sum, `count` the samples of which any label counts,
    `correct` that of the first output with a loss over classes, and `outputs` has every output that trains by name.
    """

    loss: float
    correct: int
    count: int
    skipped: bool
    outputs: Mapping[str, OutputResult] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return _told(self)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Mean loss and accuracy over `count` valid rows; NaN where there are none, as is the accuracy of regression.

    `mean_absolute_error` is that of regression, NaN elsewhere. Of a file with several outputs `loss` is their weighted
    sum, as in training, `outputs` has every output that trains by name, and the rest is said of the first output with a
    loss over classes, or else of the first that trains.
    """

    loss: float
    accuracy: float
    count: int
    mean_absolute_error: float = math.nan
    outputs: Mapping[str, Evaluation] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return _told(self)


def _told(result: StepResult | Evaluation) -> str:
    """As a dataclass prints itself, without the outputs of a file that has one, or an error that is not measured."""
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    if not result.outputs:
        del fields["outputs"]
    if math.isnan(fields.get("mean_absolute_error", 0)):
        del fields["mean_absolute_error"]
    return f"{type(result).__name__}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"


def trained_in(heads: Sequence[Head]) -> list[Head]:
    """Those of the outputs that train."""
    return [head for head in heads if head.loss is not None]


def main_of(trained: Sequence[Head]) -> Head:
    """The output that class names belong to."""
    return next((head for head in trained if head.loss.spare_outputs), trained[0])


def step_result(heads: Sequence[Head], y: Arrays, results: Mapping[str, np.ndarray], skipped: bool) -> StepResult:
    """From what the file returned of a step on checked labels `y`."""
    loss, correct, count = float(results["loss"][0]), results["correct"], rows_that_count(y)
    if not isinstance(y, dict):
        return StepResult(loss, int(correct[0]), count, skipped)
    trained = trained_in(heads)
    outputs = {
        head.name: OutputResult(float(part), int(right), int(counted(y[head.labels]).sum()))
        for head, part, right in zip(trained, results["losses"], correct, strict=True)
    }
    return StepResult(loss, outputs[main_of(trained).name].correct, count, skipped, outputs)


class Tally:
    """Adds up what one output that trains does on the rows that count."""

    def __init__(self, head: Head):
        self.head, self.loss, self.hits, self.error, self.count = head, 0.0, 0, 0.0, 0

    def add(self, outputs: Mapping[str, np.ndarray], y: np.ndarray) -> None:
        head = self.head
        y = head.label_rows(y)
        valid = counted(y)
        rows = y[valid]
        output, logits = head.rows(outputs[head.name])[valid], head.rows(outputs[head.logits])[valid]
        self.loss += head.loss.of_rows(output, logits, rows, head.info["label_smoothing"]).sum()
        self.hits += head.loss.hits(logits, rows, head.named_classes).sum() if head.loss.hits else math.nan
        if head.loss is LOSSES["mean_squared_error"]:
            self.error += abs(output.reshape(rows.shape).astype(np.float64) - rows).mean(axis=1).sum()
        self.count += len(rows)

    def result(self, rows: float) -> Evaluation:
        """With the loss over this many rows."""
        if not self.count:
            return Evaluation(math.nan, math.nan, 0)
        regression = self.head.loss is LOSSES["mean_squared_error"]
        error = float(self.error / self.count) if regression else math.nan
        return Evaluation(float(self.loss / rows), float(self.hits / self.count), self.count, error)


def evaluation(heads: Sequence[Head], tallies: Sequence[Tally], y: Arrays, penalty: float) -> Evaluation:
    """From the tallies of all outputs that train, on checked labels `y`, and the penalty of the weights."""
    samples = rows_that_count(y)
    over = [tally.count if len(tallies) == 1 else samples * tally.head.places() for tally in tallies]
    results = [tally.result(rows) for tally, rows in zip(tallies, over, strict=True)]
    if len(heads) == 1:
        return dataclasses.replace(results[0], loss=results[0].loss + penalty)
    parts = [tally.head.weight * (result.loss if result.count else 0.0) for tally, result in zip(tallies, results)]
    by_name = {tally.head.name: result for tally, result in zip(tallies, results)}
    main = by_name[main_of([tally.head for tally in tallies]).name]
    return dataclasses.replace(main, loss=sum(parts) + penalty if samples else math.nan, outputs=by_name)
