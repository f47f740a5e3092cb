"""The outputs of a file: what each returns, and what labels and loss it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tflite_export.runtime.info import describes_several, heads_of
from tflite_export.runtime.labels import counted
from tflite_export.runtime.losses import LOSSES, Loss
from tflite_export.runtime.samples import Arrays, by_name, named


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """One output.

    Attributes:
        name: In the file: Keras's, or "output" where there is one.
        labels: The name of its labels in the file.
        logits: The name of what its loss and its hits are told from.
        shape: Of the output for one sample.
        loss: None where it only infers.
        weight: Of its loss in the sum.
        info: What is said of it as `Description` says it of a file with one output. Class names are in that of the main
            output alone, and shared with the file's own info.
    """

    name: str
    labels: str
    logits: str
    shape: tuple[int, ...]
    loss: Loss | None
    weight: float
    info: dict

    @property
    def named_classes(self) -> int:
        """How many outputs `predict` chooses from."""
        names = self.info["class_names"]
        spare = self.loss is not None and self.loss.spare_outputs and names is not None
        return len(names) if spare else self.info["classes"]

    def places(self) -> int:
        """How many rows, each with a label of its own, one sample has."""
        return 1 if self.loss is LOSSES["mean_squared_error"] else int(np.prod(self.shape[:-1], dtype=np.int64))

    def rows(self, values: np.ndarray) -> np.ndarray:
        """Outputs or logits [n, …] with the places of all samples as rows."""
        return values if self.places() == 1 else values.reshape(-1, self.shape[-1])

    def label_rows(self, y: np.ndarray) -> np.ndarray:
        """Checked labels likewise."""
        return y if self.places() == 1 else y.reshape(-1, *y.shape[len(self.shape) :])


def heads_in(info: dict, output_shape: Sequence[int]) -> tuple[Head, ...]:
    """The outputs of a file, in order.

    Args:
        info: The file's info.
        output_shape: Of the only output for one sample, where the info does not say it.
    """
    heads = heads_of(info)
    trained = [head for head in heads if head["loss"] is not None]
    main = next((head for head in trained if LOSSES[head["loss"]].spare_outputs), trained[0])
    result = []
    for head in heads:
        names = {"class_names": info["class_names"] if head is main else None}
        own = {**info, **head, **names} if describes_several(info) else info
        shape = tuple(head.get("shape", output_shape))
        loss = None if head["loss"] is None else LOSSES[head["loss"]]
        result.append(Head(head["name"], head["labels"], head["logits"], shape, loss, head["loss_weight"], own))
    return tuple(result)


def checked_labels(heads: Sequence[Head], y, count: int) -> Arrays:
    """`y` as the file takes it: of the only output an array, of several by the names of the labels.

    Args:
        heads: All outputs.
        y: Labels of the only output; or a dict by the names of the outputs that train, or a list in their order.
        count: How many rows x has.

    Raises:
        TypeError, ValueError: As the loss's own check does.
    """
    if len(heads) == 1:
        (head,) = heads
        return head.loss.labels(y, count, head.info, head.shape)
    trained = [head for head in heads if head.loss is not None]
    if len(trained) == 1 and isinstance(y, np.ndarray):
        y = [y]
    y = by_name(y, [head.name for head in trained], "y")
    return {
        head.labels: named(head.loss.labels, f"y[{head.name!r}]", y[head.name], count, head.info, head.shape)
        for head in trained
    }


def rows_that_count(y: Arrays) -> int:
    """How many rows of checked labels count; of several outputs that train, how many samples with any label."""
    labels = list(y.values()) if isinstance(y, Mapping) else [y]
    if len(labels) == 1:
        return int(counted(labels[0]).sum())
    if not len(labels[0]):
        return 0
    return int(np.any([counted(each).reshape(len(each), -1).any(axis=1) for each in labels], axis=0).sum())
