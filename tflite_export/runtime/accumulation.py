"""A training step by way of micro-batches."""

from __future__ import annotations

import numpy as np

from tflite_export.runtime.batches import pad_rows, slices
from tflite_export.runtime.heads import rows_that_count
from tflite_export.runtime.labels import pad_labels
from tflite_export.runtime.samples import Arrays, count_rows, each
from tflite_export.runtime.signatures import Signatures


def accumulated_step(
    signatures: Signatures, x: Arrays, y: Arrays, learning_rate: float, micro_batch: int
) -> tuple[dict[str, np.ndarray], bool]:
    """One step over all rows, `micro_batch` of them at a time; a micro-batch of which no row counts is left out.

    Args:
        signatures: Of a file with ``accumulate`` and ``apply``.
        x: float32 [n, …], or several inputs by name.
        y: Checked labels of n rows, or those of several outputs by name.
        learning_rate: Of the step.
        micro_batch: Rows that the file takes at once; the last ones are padded.

    Returns:
        What ``train`` would return: mean losses over the rows that count, 0 if none does, and numbers of correct rows;
        and whether the step was skipped because something was not finite. An interruption leaves nothing accumulated.
    """
    totals, count = {"loss": np.zeros(1), "correct": np.zeros(1, int)}, 0
    try:
        for part in slices(count_rows(x), micro_batch):
            rows = each(lambda a: a[part], y)  # noqa: B023, called at once
            if valid := rows_that_count(rows):
                images = each(lambda a: pad_rows(a[part], micro_batch), x)  # noqa: B023
                results = signatures.accumulate(images, each(lambda a: pad_labels(a, micro_batch), rows))
                for name, value in results.items():
                    value = value if name == "correct" else value.astype(np.float64) * valid
                    totals[name] = totals.get(name, 0) + value
                count += valid
        applied = signatures.apply(learning_rate) if count else False
    except BaseException:  # a KeyboardInterrupt too
        signatures.restore(signatures.save())
        raise
    results = {name: total if name == "correct" else total / max(count, 1) for name, total in totals.items()}
    return results, bool(count) and not applied
