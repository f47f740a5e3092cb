"""Where images come from, as the pipeline sees it."""

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class Samples:
    """Images that are not decoded yet.

    Attributes:
        items: Pairs of a string (an encoded image, or the path of one) and an int64 label, always in the same order.
        size: How many there are.
    """

    items: tf.data.Dataset
    size: int


@dataclass(frozen=True)
class Source:
    """A data set, split but not decoded.

    Attributes:
        name: What messages call it.
        class_names: In the order of the labels; at least two.
        train, test, validation: The splits.
        decode: From an item's string to a uint8 tensor `[height, width, 3]`, RGB.
    """

    name: str
    class_names: tuple[str, ...]
    train: Samples
    test: Samples
    validation: Samples | None
    decode: Callable[[tf.Tensor], tf.Tensor]


def check_classes(name: str, class_names: tuple[str, ...], hint: str = "") -> None:
    """Refuses what cannot be classified.

    Raises:
        ValueError: There are fewer than two classes.
    """
    if len(class_names) < 2:
        raise ValueError(f"{name} must have at least two classes. Found: {list(class_names)}.{hint}")
