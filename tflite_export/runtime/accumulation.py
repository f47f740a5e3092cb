"""A training step by way of micro-batches."""

from __future__ import annotations

import numpy as np

from tflite_export.runtime.batches import pad_rows, slices
from tflite_export.runtime.labels import counted, pad_labels
from tflite_export.runtime.signatures import Signatures


def accumulated_step(
    signatures: Signatures, x: np.ndarray, y: np.ndarray, learning_rate: float, micro_batch: int
) -> tuple[float, int, bool]:
    """One step over all rows, `micro_batch` of them at a time; a micro-batch of which no row counts is left out.

    Args:
        signatures: Of a file with ``accumulate`` and ``apply``.
        x: float32 [n, …].
        y: Checked labels of n rows.
        learning_rate: Of the step.
        micro_batch: Rows that the file takes at once; the last ones are padded.

    Returns:
        The mean loss over the rows that count, 0 if none does; the number of correct rows; and whether the step was
        skipped because something was not finite. An interruption leaves nothing accumulated.
    """
    loss, correct, count = 0.0, 0, 0
    try:
        for part in slices(len(x), micro_batch):
            if valid := int(counted(y[part]).sum()):
                mean, right = signatures.accumulate(pad_rows(x[part], micro_batch), pad_labels(y[part], micro_batch))
                loss, correct, count = loss + mean * valid, correct + right, count + valid
        applied = signatures.apply(learning_rate) if count else False
    except BaseException:  # a KeyboardInterrupt too
        signatures.restore(signatures.save())
        raise
    return loss / max(count, 1), correct, bool(count) and not applied
