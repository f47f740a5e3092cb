"""Mean squared error, for regression and reconstruction."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor
from tflite_export.losses.base import LossTensors, dense_labels, guarded, mean_over_rows


@dataclasses.dataclass(frozen=True)
class MeanSquaredError:
    """The mean over a row's outputs of ``(output - y)^2``; y is float32 like the output.

    A row with a NaN counts for nothing. Nothing is "correct": that count stays 0.
    """

    name: ClassVar[str] = "mean_squared_error"
    label_smoothing: ClassVar[float] = 0.0
    final_activations: ClassVar[tuple[str, ...]] = ("softmax", "sigmoid", "linear")
    of_logits: ClassVar[bool] = False

    def build(self, b: Builder, output: Tensor, inputs: Sequence[Tensor]) -> LossTensors:
        """Adds the loss of `output` [batch, …] to `b`; the model's `inputs` must be finite too."""
        batch, outputs = output.shape[0], math.prod(output.shape[1:])
        flat = b.reshape(output, (batch, outputs))
        labels, clean, rows = dense_labels(b, (batch, outputs))
        poison = b.zero_or_nan((flat, *inputs))
        squares = b.scale(b.binary("SQUARED_DIFFERENCE", flat, clean), 1 / outputs)
        loss = mean_over_rows(b, squares, rows, poison)
        difference = guarded(b, b.sub(flat, clean), (flat, *inputs), bounded=False)
        return LossTensors(labels, loss, constant(0, "int32"), b.scale(difference, 2 / outputs), rows, poison)
