"""`train_from`: training that does not reach back to the first layer."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tflite_export.graph import Graph, Variable
from tflite_export.memory_budget import BudgetTooSmall

BUDGET = "budget"  # as far back as the memory_budget allows
Layers = Sequence[tuple[str, Sequence[str]]]
_Compiled = TypeVar("_Compiled")


def trained_from(model, variables: Sequence[Variable], train_from: str | float | None) -> tuple[Variable, ...]:
    """Those of `variables` that train; the others are frozen at their present values.

    Layers count in forward order, those of models inside the model among them; any other layer that holds layers
    (a lite residual branch) counts as one. The last layer with trainable weights, the head, always trains.

    Args:
        model: a built Keras model.
        variables: one for every trainable weight of `model`, by its path.
        train_from: None: all train. A layer's name: every layer before it is frozen. A block's name, which is what the
            names of its layers begin with ("block_3" of "block_3_expand"): every layer before the first of them is. A
            number f in [0, 1): the first f of the layers with trainable weights are, rounded down.

    Raises:
        ValueError: there is no such layer or block, or the number lies outside [0, 1).
    """
    if train_from is None:
        return tuple(variables)
    frozen = frozen_before(keras_layers(model), train_from)
    return tuple(variable for variable in variables if variable.name not in frozen)


def frozen_before(layers: Layers, train_from: str | float) -> set[str]:
    """The names of the variables that `train_from` freezes, as `trained_from` explains.

    Args:
        layers: every layer's name and those of its trainable variables, in forward order.

    Raises:
        ValueError: as `trained_from` does.
    """
    trainable = [i for i, (_, names) in enumerate(layers) if names]
    if isinstance(train_from, str):
        first = _position(layers, train_from)
    else:
        first = trainable[math.floor(_fraction(train_from) * len(trainable))]
    first = min(first, trainable[-1])
    return {name for _, names in layers[:first] for name in names}


def variables_behind(forward: Graph, outputs: Iterable[str]) -> tuple[Variable, ...]:
    """The variables of a forward graph that these of its outputs depend on; the others have no part in their loss."""
    needed = {forward.outputs[name] for name in outputs}
    for op in reversed(forward.ops):
        if needed.intersection(op.outputs):
            needed.update(tensor for tensor in op.inputs if tensor is not None)
    reads = [op for op in forward.ops if op.kind == "READ_VARIABLE"]
    return tuple(op.attributes["variable"] for op in reads if op.outputs[0] in needed)


def farthest_within_budget(layers: Layers, compiled: Callable[[float], _Compiled]) -> _Compiled:
    """Freezes as few of the first layers as the budget needs.

    Args:
        layers: as in `frozen_before`.
        compiled: compiles it with this fraction for `train_from`, or raises BudgetTooSmall.

    Raises:
        BudgetTooSmall: the head alone does not fit.
    """
    count = sum(bool(names) for _, names in layers)
    fewest, most, best = 0, count - 1, None  # layers to freeze
    while fewest < most or best is None:
        frozen = (fewest + most) // 2
        try:
            best, most = compiled((frozen + 0.5) / count), frozen
        except BudgetTooSmall as error:
            if frozen == count - 1:
                message = f"training the head alone does not fit either: {error}"
                raise BudgetTooSmall(message, error.needed) from error
            fewest = frozen + 1
    return best


def keras_layers(model) -> Layers:
    """The layers of a Keras model."""
    return [(layer.name, [v.path for v in layer.trainable_variables]) for layer in _layers(model)]


def _layers(model) -> Iterator:
    """The layers of a model and of models inside it, in forward order."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def _fraction(value) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0 <= value < 1:
        raise ValueError(
            f"train_from must be the name of a layer or block, or a fraction in [0, 1) of the trainable layers to "
            f"freeze, got {value!r}"
        )
    return value


def _position(layers: Layers, wanted: str) -> int:
    """Where the layer, or else the block, of this name begins."""
    names = [name for name, _ in layers]
    if wanted in names:
        return names.index(wanted)
    in_block = [i for i, name in enumerate(names) if name.startswith(f"{wanted}_")]
    if in_block:
        return in_block[0]
    close = difflib.get_close_matches(wanted, [*names, *_block_names(names)], n=5)
    if close:
        there_are = f"similar names are {', '.join(map(repr, dict.fromkeys(close)))}"
    else:
        trained = [repr(name) for name, variables in layers if variables]
        shown = trained if len(trained) <= 12 else [*trained[:6], "…", *trained[-6:]]
        there_are = f"the layers that train are {', '.join(shown)}"
    raise ValueError(f"train_from={wanted!r}: the model has no layer or block of that name; {there_are}")


def _block_names(names: list[str]) -> list[str]:
    """What the names of several layers begin with."""
    starts = [name.rpartition("_")[0] for name in names]
    return [start for start in dict.fromkeys(starts) if start and starts.count(start) > 1]
