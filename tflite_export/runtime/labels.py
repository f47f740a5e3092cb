"""The labels that each loss takes, checked on the host and brought into the form that the graph takes.

A row of labels that does not count is −1 among class indices, and holds a NaN among numbers. Such rows also fill up a
batch that is short.
"""

from __future__ import annotations

import math

import numpy as np

from tflite_export.runtime.batches import pad_rows

IGNORED = -1
_TOLERANCE = 1e-3  # of probabilities, which may come from float16 or from a sum of many


def counted(y: np.ndarray) -> np.ndarray:
    """Which rows of checked labels count, bool [n], or [n, …] where there is a label at every place."""
    return y != IGNORED if y.dtype.kind == "i" else ~np.isnan(y).any(axis=-1)


def pad_labels(y: np.ndarray, rows: int) -> np.ndarray:
    """Checked labels with rows that do not count behind them, until there are `rows`."""
    return pad_rows(y, rows, IGNORED if y.dtype.kind == "i" else np.nan)


def class_indices(y, count: int, info: dict, output_shape: tuple[int, ...]) -> np.ndarray:
    """`y` as int32 [count], or [count, …] for an output [batch, …, classes].

    Args:
        y: Integer class indices of that shape; −1 marks a row that is not to count.
        count: Number of rows of x.
        info: The file's info. With class names in it, a label must belong to a named class.
        output_shape: Of one row.

    Raises:
        TypeError: If `y` does not hold integers.
        ValueError: If the shape or a label is wrong.
    """
    y = np.asarray(y)
    one_hot = " One-hot rows become indices by y.argmax(-1)." if y.ndim == 2 and y.shape[1] > 1 else ""
    if y.dtype.kind not in "iu":
        hint = _hint_for_names(y, info) or one_hot or _hint_for_whole_numbers(y)
        raise TypeError(f"y must hold integer class indices. Received: dtype {y.dtype}, shape {list(y.shape)}.{hint}")
    if y.shape != (count, *output_shape[:-1]):
        if output_shape[1:]:
            expected = [count, *output_shape[:-1]]
            raise ValueError(f"y must have shape {expected}, one label for each place. Received: {list(y.shape)}.")
        hint = " Flatten it: y[:, 0]." if y.shape == (count, 1) else one_hot
        raise ValueError(f"y must have shape [{count}], one label for each row of x. Received: {list(y.shape)}.{hint}")
    classes = info["classes"]
    wrong = (y.astype(np.int64) < IGNORED) | (y.astype(np.int64) >= classes)
    if wrong.any():
        row = _first(wrong)
        raise ValueError(
            f"Labels must be in [0, {classes}), or {IGNORED} for a row that does not count. "
            f"Received: {y.flat[row]} at index {_place(row, y)}"
        )
    names = info["class_names"]
    if names is not None and (y >= len(names)).any():
        row = _first(y >= len(names))
        raise _spare_output(y.flat[row], _place(row, y), names)
    return y.astype(np.int32)


def class_probabilities(y, count: int, info: dict, output_shape: tuple[int, ...]) -> np.ndarray:
    """`y` as float32 [count, …, classes]: one-hot rows, or probabilities that sum to 1. Arguments as `class_indices`.

    Raises:
        TypeError: If `y` does not hold numbers.
        ValueError: If the shape or a row is wrong, or a class without a name has a probability.
    """
    hint = f" Class indices become one-hot rows by np.eye({info['classes']})[y]."
    y = np.asarray(y)
    y = _numbers_in_rows(y, count, output_shape, _hint_for_names(y, info) + hint)
    _check_rows(y, (y < -_TOLERANCE).any(axis=1), "must hold probabilities >= 0")
    _check_rows(y, abs(y.sum(axis=1, dtype=np.float64) - 1) > _TOLERANCE, "must hold probabilities that sum to 1")
    names = info["class_names"]
    if names is not None:
        rows, columns = np.nonzero(y[:, len(names) :] > _TOLERANCE)
        if len(rows):
            raise _spare_output(len(names) + columns[0], rows[0], names)
    return y.reshape(count, *output_shape)


def yes_or_no(y, count: int, info: dict, output_shape: tuple[int, ...]) -> np.ndarray:
    """`y` as float32 [count, …, outputs], each in [0, 1]. Arguments and errors as `class_probabilities`."""
    y = _numbers_in_rows(y, count, output_shape)
    _check_rows(y, ((y < -_TOLERANCE) | (y > 1 + _TOLERANCE)).any(axis=1), "must be in [0, 1]")
    return y.reshape(count, *output_shape)


def numbers(y, count: int, info: dict, output_shape: tuple[int, ...]) -> np.ndarray:
    """`y`, like the model's output, as float32 [count, numbers in a row]. Arguments and errors as above."""
    return _numbers(y, count, output_shape)


def _numbers_in_rows(y, count: int, output_shape: tuple[int, ...], hint_for_classes: str = "") -> np.ndarray:
    """`_numbers` [count, outputs]; of an output with further axes [count * places, outputs], every place a row."""
    y, (*places, outputs) = np.asarray(y), output_shape
    if places and y.shape == (count, *output_shape):
        rows = count * math.prod(places)
        return _numbers(y.reshape(rows, outputs), rows, (outputs,), hint_for_classes)
    if places and y.shape == (count, math.prod(output_shape)):
        raise ValueError(f"y must have shape {[count, *output_shape]}, like the output. Received: {list(y.shape)}.")
    return _numbers(y, count, output_shape, hint_for_classes)


def _numbers(y, count: int, output_shape: tuple[int, ...], hint_for_classes: str = "") -> np.ndarray:
    """float32 [count, prod(output_shape)]; no infinity, and NaN only in rows that do not count."""
    y = np.asarray(y)
    if y.dtype.kind not in "biuf":
        raise TypeError(f"y must hold numbers. Received: dtype {y.dtype}, shape {list(y.shape)}.{hint_for_classes}")
    flat = (count, math.prod(output_shape))
    if y.shape not in (flat, (count, *output_shape)):
        hint = hint_for_classes if y.shape == (count,) and y.dtype.kind in "iu" else ""
        if not hint and (*y.shape, 1) == flat:
            hint = " Add the axis: y[:, None]."
        raise ValueError(
            f"y must have shape {[count, *output_shape]}, like the output. Received: {list(y.shape)}.{hint}"
        )
    with np.errstate(over="ignore"):
        y = np.ascontiguousarray(y, np.float32).reshape(flat)
    if (ignored := ~counted(y)).any():
        y = np.where(ignored[:, None], np.float32(np.nan), y)  # an infinity beside the NaN would stop the whole step
    _check_rows(y, np.isinf(y).any(axis=1), "must be finite as float32, or NaN in a row that does not count")
    return y


def _check_rows(y: np.ndarray, wrong: np.ndarray, rule: str) -> None:
    if wrong.any():
        row = _first(wrong)
        raise ValueError(f"Labels {rule}. Received: {y[row].tolist()[:8]} in row {row}")


def _hint_for_names(y: np.ndarray, info: dict) -> str:
    if y.dtype.kind not in "USTO":
        return ""
    names = "class_names" if info["class_names"] is None else 'model.info["class_names"]'
    return f" Names become indices by [{names}.index(name) for name in y]."


def _hint_for_whole_numbers(y: np.ndarray) -> str:
    """For floating point or boolean labels that are indices all the same."""
    whole = y.dtype.kind == "b" or (y.dtype.kind == "f" and bool((y == np.floor(y)).all()))
    return " Whole numbers become integers by y.astype(int)." if whole else ""


def _place(index: int, y: np.ndarray):
    """Where the flat `index` lies in `y`: a row, or row and place."""
    return index if y.ndim == 1 else tuple(map(int, np.unravel_index(index, y.shape)))


def _spare_output(label: int, row, names: list[str]) -> ValueError:
    return ValueError(
        f"Label {label} at index {row} is a spare output without a name, and would never be predicted. "
        f"Name it first with add_class(name). Named so far: {names}"
    )


def _first(where: np.ndarray) -> int:
    return int(np.flatnonzero(where)[0])
