"""Cross-entropy of independent yes-or-no outputs. The sigmoid is part of the loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from tflite_export.builder import Builder, constant
from tflite_export.graph import Tensor
from tflite_export.losses.base import LossTensors, dense_labels, guarded, in_rows, mean_over_rows


@dataclasses.dataclass(frozen=True)
class BinaryCrossentropy:
    """The mean over a row's outputs of ``-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z))``.

    y is float32 [batch, outputs]; a row with a NaN counts for nothing. With smoothing e the target is
    ``y (1 - e) + e / 2``. A row is correct where all its outputs are on the right side of one half. Of logits with
    further axes, [batch, …, outputs], every place is a row.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "binary_crossentropy"
    final_activations: ClassVar[tuple[str, ...]] = ("sigmoid", "linear")
    of_logits: ClassVar[bool] = True

    def build(self, b: Builder, logits: Tensor, inputs: Sequence[Tensor]) -> LossTensors:
        """Adds the loss of `logits` [batch, …, outputs] to `b`; the model's `inputs` must be finite too."""
        label_shape, logits = logits.shape, in_rows(b, logits)
        outputs = logits.shape[1]
        labels, clean, rows = dense_labels(b, logits.shape, label_shape)
        target = b.scale(clean, 1 - self.label_smoothing)
        if self.label_smoothing:
            target = b.add(target, constant(self.label_smoothing / 2))
        # max(z, 0) - z y + log(1 + exp(-|z|)): no term overflows
        log_of_sum = b.unary("LOG", b.add(constant(1), b.unary("EXP", b.scale(b.unary("ABS", logits), -1))))
        each = b.add(b.sub(b.maximum(logits, constant(0)), b.mul(logits, target)), log_of_sum)
        poison = b.zero_or_nan((logits, *inputs))
        loss = mean_over_rows(b, b.scale(each, 1 / outputs), rows, poison)
        difference = guarded(b, b.sub(b.unary("LOGISTIC", logits), target), (logits, *inputs), bounded=True)

        said_yes, is_yes = b.compare("GREATER", logits, constant(0)), b.compare("GREATER", clean, constant(0.5))
        right = b.cast(b.compare("EQUAL", b.cast(said_yes, "int32"), b.cast(is_yes, "int32")), "float32")
        number_right = b.mul(b.sum(right, [1], keep_dims=True), rows.valid)
        all_right = b.cast(b.compare("EQUAL", number_right, constant(outputs)), "int32")
        correct = b.reshape(b.sum(all_right, [0, 1]), (1,))
        return LossTensors(labels, loss, correct, b.scale(difference, 1 / outputs), rows, poison)
