"""What the caller hands in, checked on the host before anything in the file can change."""

from __future__ import annotations

import numpy as np

from tflite_export.runtime.info import describes_several, inputs_of
from tflite_export.runtime.samples import Arrays, by_name, named
from tflite_export.runtime.scale_warning import warn_if_unscaled

_CHECKED_AT_ONCE = 1 << 16  # elements


def sample_shape(x, info: dict) -> Arrays:
    """`x` as an array, or for a file of several inputs arrays by name; shape and dtype checked but no value looked at.

    Raises:
        TypeError: If `x` does not hold numbers of the kind that the input takes.
        ValueError: If the shape is not [n, *input_shape], or n differs between inputs.
    """
    specs = _specs(info)
    if len(specs) == 1:
        return _sample_shape(x, *specs.values())
    x = by_name(x, list(specs), "x")
    x = {name: named(_sample_shape, f"x[{name!r}]", x[name], spec) for name, spec in specs.items()}
    if len({len(array) for array in x.values()}) > 1:
        rows = ", ".join(f"{len(array)} of {name!r}" for name, array in x.items())
        raise ValueError(f"Every input must have as many rows as the others. Received: {rows}")
    return x


def model_input(x, info: dict, first_row: int = 0) -> Arrays:
    """`x` as the graph takes it: float32, or integers where the model's input is one.

    Args:
        x: [n, *input_shape]; of several inputs as `sample_shape` returns them. For a float32 input integers (uint8
            images) become ``x * input_scale + input_offset``; floating point numbers are taken as already scaled.
        info: The file's info.
        first_row: Where in the caller's array the first row stands, for the message.

    Raises:
        TypeError, ValueError: As `sample_shape` does, and if a value is NaN or infinite, or too large an integer.
    """
    x, specs = sample_shape(x, info), _specs(info)
    if not isinstance(x, dict):
        return _model_input(x, *specs.values(), first_row)
    return {name: named(_model_input, f"x[{name!r}]", x[name], spec, first_row) for name, spec in specs.items()}


def _specs(info: dict) -> dict[str, dict]:
    """What is said of every input by name, in the words of a file that has one."""
    if not describes_several(info):
        return {"x": info}
    return {
        spec["name"]: {
            "input_shape": spec["shape"],
            "input_scale": spec["scale"],
            "input_offset": spec["offset"],
            "dtype": spec["dtype"],
        }
        for spec in inputs_of(info)
    }


def warn_of_scale(x: Arrays, info: dict) -> bool:
    """`warn_if_unscaled` of every input."""
    arrays, specs = list(x.values()) if isinstance(x, dict) else [x], _specs(info)
    warned = [warn_if_unscaled(array, spec) for array, spec in zip(arrays, specs.values(), strict=True)]
    return any(warned)


def _sample_shape(x, info: dict) -> np.ndarray:
    shape, dtype = tuple(info["input_shape"]), info.get("dtype", "float32")
    given = type(x).__name__
    try:
        x = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"x must have shape [n, {', '.join(map(str, shape))}]. Received: a ragged {given}") from error
    if x.dtype == object:
        raise TypeError(f"x must be an array [n, {', '.join(map(str, shape))}]. Received: {given}")
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        hint = " Add the batch axis: x[None]." if x.shape == shape else ""
        raise ValueError(f"x must have shape [n, {', '.join(map(str, shape))}]. Received: {list(x.shape)}.{hint}")
    if dtype != "float32":
        if x.dtype.kind not in "iu":
            raise TypeError(f"x must hold integers: the model's input is {dtype}. Received: dtype {x.dtype}")
    elif x.dtype.kind not in "iuf":
        raise TypeError(
            f"x must hold floating point numbers (already scaled) or integers (images, scaled by x * "
            f"{info['input_scale']} + {info['input_offset']}). Received: dtype {x.dtype}"
        )
    return x


def _model_input(x: np.ndarray, info: dict, first_row: int) -> np.ndarray:
    dtype = info.get("dtype", "float32")
    if dtype != "float32":
        limits = np.iinfo(dtype)
        if x.size and (int(x.min()) < limits.min or int(x.max()) > limits.max):
            raise ValueError(f"x must lie in what {dtype} holds. Received: {int(x.min())} to {int(x.max())}")
        return np.ascontiguousarray(x, dtype)
    if x.dtype.kind in "iu":
        return x.astype(np.float32) * np.float32(info["input_scale"]) + np.float32(info["input_offset"])
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, np.float32)
    row = _first_not_finite(x)
    if row is not None:
        raise ValueError(
            f"x holds NaN or infinity (as float32), first in row {first_row + row}. Repair or leave out such rows."
        )
    return x


def _first_not_finite(x: np.ndarray) -> int | None:
    """The first row of `x`, C-contiguous, with a NaN or an infinity. In pieces: of a whole batch of images, the answers
    for every element would take more memory than many a part of the step."""
    flat = x.reshape(-1)
    for begin in range(0, flat.size, _CHECKED_AT_ONCE):
        finite = np.isfinite(flat[begin : begin + _CHECKED_AT_ONCE])
        if not finite.all():
            return (begin + int(np.argmin(finite))) // (flat.size // len(x))
    return None


def whole_number(value, name: str, least: int) -> int:
    """`value` as an int.

    Raises:
        TypeError: If it is no integer; True, 2.0 and "2" are none.
        ValueError: If it is below `least`.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be an integer. Received: {name}={value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}. Received: {name}={value}")
    return int(value)
