"""summary(): what of a model trains, layer by layer."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras

from tinytl_keras._keras_compat import graph_of
from tinytl_keras._text import shorten
from tinytl_keras.layers import LiteResidual

_ROW = "{:<23} {:<18} {:<12} {:>11} {:>11}"
_WIDTHS = (23, 18, 12, 11, 11)


@dataclass(frozen=True)
class LayerSummary:
    """What of one layer trains.

    Attributes:
        name: The layer's name; in a model inside the model, `model/layer`.
        class_name: The layer's class.
        trains: Names of the weights that train; those of a lite residual branch's layers without repetition.
        trainable_parameters: Number of values in the weights that train.
        frozen_parameters: Number of values in the others, stored statistics included.
        trainable_bytes: Bytes of the weights that train.
    """

    name: str
    class_name: str
    trains: tuple[str, ...]
    trainable_parameters: int
    frozen_parameters: int
    trainable_bytes: int


@dataclass(frozen=True)
class Summary:
    """What of a model trains; `str()` is a table of at most 80 columns.

    Attributes:
        rows: One `LayerSummary` for each layer that has weights, in the order of the model. A layer that is
            called more than once has one row; a lite residual's main layer has rows of its own.
    """

    rows: tuple[LayerSummary, ...]

    @property
    def trainable_parameters(self) -> int:
        """Number of values in the weights that train."""
        return sum(row.trainable_parameters for row in self.rows)

    @property
    def frozen_parameters(self) -> int:
        """Number of values in all other weights, stored statistics included."""
        return sum(row.frozen_parameters for row in self.rows)

    @property
    def trainable_bytes(self) -> int:
        """Bytes of the weights that train."""
        return sum(row.trainable_bytes for row in self.rows)

    def __str__(self) -> str:
        lines = [_ROW.format("layer", "class", "trains", "trainable", "frozen"), "-" * (sum(_WIDTHS) + 4)]
        for row in self.rows:
            texts = (row.name, row.class_name, ", ".join(row.trains) or "-")
            cells = [shorten(text, width) for text, width in zip(texts, _WIDTHS)]
            lines.append(_ROW.format(*cells, f"{row.trainable_parameters:,}", f"{row.frozen_parameters:,}"))
        lines.append(lines[1])
        lines.append(
            f"trainable: {self.trainable_parameters:,} parameters, {self.trainable_bytes:,} bytes; "
            f"frozen: {self.frozen_parameters:,} parameters"
        )
        return "\n".join(lines)


def summary(model: keras.Model) -> Summary:
    """Lists what of a model trains.

    Args:
        model: A built Keras model, converted or not.

    Returns:
        A `Summary`: `.trainable_parameters`, `.frozen_parameters`, `.trainable_bytes`, `.rows`; `print` it.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `model` is not built, so it has no weights yet.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` must be a keras.Model. Received: {model!r} of type {type(model)}")
    if not model.built:
        raise ValueError(f"Model {model.name!r} has no weights yet. Call `model.build(input_shape)` before `summary`.")
    return Summary(tuple(_rows(model, "", set())))


def _rows(layer: keras.layers.Layer, path: str, seen: set[int]) -> Iterator[LayerSummary]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    graph = graph_of(layer)
    if graph is not None:
        for inner in graph.layers:
            yield from _rows(inner, f"{path}/{inner.name}" if path else inner.name, seen)
        return
    own = (layer,)
    if isinstance(layer, LiteResidual):
        own = layer.branch_layers
        if layer.main is not None:
            yield from _rows(layer.main, f"{path}/{layer.main.name}", seen)
    if layer.weights:
        trained = [weight for part in own for weight in part.trainable_weights]
        trainable_parameters = sum(math.prod(weight.shape) for weight in trained)
        yield LayerSummary(
            name=path or layer.name,
            class_name=type(layer).__name__,
            trains=tuple(dict.fromkeys(weight.name for weight in trained)),
            trainable_parameters=trainable_parameters,
            frozen_parameters=sum(part.count_params() for part in own) - trainable_parameters,
            trainable_bytes=sum(weight.numpy().nbytes for weight in trained),
        )
