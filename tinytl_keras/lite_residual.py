"""What a lite residual branch looks like: its settings. The rules for its sizes are `tflite_export.lite_residual`."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import keras

from tflite_export.lite_residual import kernel_for, make_divisible

__all__ = ["NOMINAL_RESOLUTION", "NORMS", "LiteResidualConfig", "kernel_for", "make_divisible"]

NOMINAL_RESOLUTION = 128
"""The paper's nets count from here, whatever the image size (official code, `lite_residual.py`)."""

NORMS = ("group", "batch")


@dataclass(frozen=True)
class LiteResidualConfig:
    """Settings of all lite residual branches of a model. The defaults are the paper's.

    Attributes:
        kernel_size: Largest kernel of the group convolution, odd. Smaller maps get smaller ones.
        groups: Its groups; the largest common divisor of it and the channels where it does not divide them.
        expand: Its output channels, as a multiple of the block's input channels, then rounded to a multiple of 8.
        pool: Window and step of the average pooling before it; 1: none.
        norm: `"group"`, 8 channels a group, or `"batch"`, with stored statistics.
        activation: Behind the first normalization: what `keras.activations.get` takes.
        zero_init: Whether the last normalization's gamma starts at 0, so that the model's output does not change.

    Raises:
        ValueError: A value is out of range.
    """

    kernel_size: int = 5
    groups: int = 2
    expand: float = 1.0
    pool: int = 2
    norm: str = "group"
    activation: str | Callable = "relu"
    zero_init: bool = True

    def __post_init__(self):
        _check("kernel_size", self.kernel_size, _is_count(self.kernel_size) and self.kernel_size % 2, "an odd integer")
        _check("groups", self.groups, _is_count(self.groups), "an integer of 1 or more")
        is_number = isinstance(self.expand, Real) and not isinstance(self.expand, bool)
        _check("expand", self.expand, is_number and 0 < self.expand < math.inf, "a number above 0")
        _check("pool", self.pool, _is_count(self.pool), "an integer of 1 or more")
        _check("norm", self.norm, self.norm in NORMS, f"one of {NORMS}")
        _check("zero_init", self.zero_init, isinstance(self.zero_init, bool), "True or False")
        try:
            keras.activations.get(self.activation)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"`activation` must be a Keras activation, e.g. 'relu'. Received: activation={self.activation!r}"
            ) from error


def _is_count(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 1


def _check(name: str, value: object, right: object, expected: str) -> None:
    if not right:
        raise ValueError(f"`{name}` of a lite residual branch must be {expected}. Received: {name}={value!r}")
