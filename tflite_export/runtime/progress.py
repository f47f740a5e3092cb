"""How far a `fit` has come. It is saved with the state, so that an interrupted one can go on."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tflite_export.runtime.results import StepResult


@dataclasses.dataclass(frozen=True)
class Totals:
    """Sums over the steps of one epoch; a skipped step adds only to `skipped`."""

    loss: float = 0.0
    correct: int = 0
    count: int = 0
    skipped: int = 0
    outputs: dict[str, list] = dataclasses.field(default_factory=dict)  # loss, correct, count of each of several

    def plus(self, result: StepResult) -> Totals:
        if result.skipped:
            return dataclasses.replace(self, skipped=self.skipped + 1)
        loss, outputs = self.loss + result.loss * result.count, {}
        for name, output in result.outputs.items():
            before = self.outputs.get(name, [0.0, 0, 0])
            outputs[name] = [
                before[0] + output.loss * result.count,
                before[1] + output.correct,
                before[2] + output.count,
            ]
        return Totals(loss, self.correct + result.correct, self.count + result.count, self.skipped, outputs)

    @property
    def mean_loss(self) -> float:
        return self.loss / self.count if self.count else float("nan")

    @property
    def accuracy(self) -> float:
        return self.correct / self.count if self.count else float("nan")


@dataclasses.dataclass(frozen=True)
class Best:
    """The epoch, from 0, with the lowest validation loss so far, and the training steps taken until its end."""

    epoch: int
    loss: float
    step: int


ARGUMENTS = ("samples", "batch_size", "shuffle", "seed")


@dataclasses.dataclass(frozen=True)
class Progress:
    """`position` batches of `epoch` (both from 0) are done. `ARGUMENTS` are those of `fit` that make the order.

    `best` is None unless `fit` is to restore the best epoch.
    """

    samples: int
    batch_size: int
    shuffle: bool
    seed: int
    epoch: int = 0
    position: int = 0
    totals: Totals = Totals()
    best: Best | None = None

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.samples // self.batch_size)

    def after(self, result: StepResult) -> Progress:
        """One step later, in the same epoch."""
        return dataclasses.replace(self, position=self.position + 1, totals=self.totals.plus(result))

    def next_epoch(self) -> Progress:
        return dataclasses.replace(self, epoch=self.epoch + 1, position=0, totals=Totals())

    def as_json(self) -> dict:
        fields = dataclasses.asdict(self)
        if not self.totals.outputs:  # as ever, where there is one
            del fields["totals"]["outputs"]
        return fields

    @classmethod
    def from_json(cls, fields: dict) -> Progress:
        """Raises TypeError or ValueError if `as_json` did not make `fields`."""
        best = fields.get("best")
        best = None if best is None else Best(**best)
        progress = cls(**{**fields, "totals": Totals(**fields["totals"]), "best": best})
        if [type(value) for value in dataclasses.astuple(progress)[:-2]] != [int, int, bool, int, int, int]:
            raise TypeError(f"unusable progress {fields}")
        if min(progress.samples, progress.batch_size) < 1 or not 0 <= progress.position <= progress.steps_per_epoch:
            raise ValueError(f"impossible progress {fields}")
        return progress
