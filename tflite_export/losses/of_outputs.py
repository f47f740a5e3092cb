"""Which outputs of a model train, by which loss, and with what weight in the sum."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence

from tflite_export.losses.mean_squared_error import MeanSquaredError
from tflite_export.losses.resolve import resolve


@dataclasses.dataclass(frozen=True)
class OutputLoss:
    """The loss of one output.

    Attributes:
        output: its name in the file.
        loss: one of this package's.
        weight: of its loss in the sum, from 0 up.
    """

    output: str
    loss: object
    weight: float = 1.0


def resolve_outputs(
    loss, weights, label_smoothing: float, ends: Mapping[str, tuple[str, int]], keras_names: Sequence[str]
) -> tuple[OutputLoss, ...]:
    """The losses of the outputs that train, in the order of the outputs.

    Args:
        loss: a name or a Keras loss, for every output; or as Keras's ``compile`` takes them, a list with one for each
            output, or a dict by the outputs' names. An output with None, or without an entry, does not train.
        weights: None, or a list or dict of numbers likewise: what each loss counts in the sum, 1 where none is given.
        label_smoothing: of all losses over classes.
        ends: for every output its final activation and how many values its last axis has (`training.final_layer`).
        keras_names: what Keras calls the outputs, in the same order.

    Raises:
        ValueError: a name that is no output's, no loss at all, or as `resolve` does; names the output.
    """
    losses = _by_output(loss, "loss", [*ends], keras_names)
    if weights is not None and len(ends) == 1:
        raise ValueError("loss_weights is for models of several outputs; a single loss is scaled by the learning rate")
    weights = {} if weights is None else _by_output(weights, "loss_weights", [*ends], keras_names)
    for name, weight in weights.items():
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, numbers.Real) or weight < 0):
            raise ValueError(f"loss_weights: the weight of output {name!r} must be a number from 0, got {weight!r}")
        if weight is not None and not (math.isfinite(weight) and losses.get(name) is not None):
            raise ValueError(f"loss_weights: output {name!r} has the weight {weight!r}, and no loss to be weighed")
    trained = []
    for name, end in ends.items():
        if losses.get(name) is None:
            continue
        weight = weights.get(name)
        resolved = _resolved(losses[name], label_smoothing, end, name if len(ends) > 1 else None)
        trained.append(OutputLoss(name, resolved, 1.0 if weight is None else float(weight)))
    if not trained:
        raise ValueError(f"no output has a loss, so nothing trains; give one of {', '.join(map(repr, ends))} a loss")
    if label_smoothing and len(ends) > 1 and not any(one.loss.label_smoothing for one in trained):
        raise ValueError("label_smoothing has no meaning for 'mean_squared_error', which is all that the model has")
    return tuple(trained)


def outputs_with_loss(loss, names: Sequence[str], keras_names: Sequence[str]) -> list[str]:
    """The outputs that have a loss, of those of these names; arguments and errors as `resolve_outputs`."""
    losses = _by_output(loss, "loss", names, keras_names)
    return [name for name in names if losses.get(name) is not None]


def main_output(trained: Sequence[OutputLoss]) -> OutputLoss:
    """The output that class names belong to: the first over classes, or else the first."""
    return next((one for one in trained if one.loss.name.endswith("categorical_crossentropy")), trained[0])


def _resolved(loss, label_smoothing: float, end: tuple[str, int], output: str | None):
    """`output`: named in the message, where there are several."""
    if output is None:
        return resolve(loss, label_smoothing, *end)
    try:
        squared = MeanSquaredError.name in (loss, getattr(loss, "name", None))
        return resolve(loss, 0.0 if squared else label_smoothing, *end)
    except ValueError as error:
        raise ValueError(f"output {output!r}: {error}") from error


def _by_output(given, option: str, names: Sequence[str], keras_names: Sequence[str]) -> dict[str, object]:
    """What is given for each output, by its name in the file."""
    if isinstance(given, Mapping):
        aliases = {**dict(zip(keras_names, names, strict=True)), **{name: name for name in names}}
        unknown = sorted(str(name) for name in given if name not in aliases)
        if unknown:
            raise ValueError(
                f"{option}: the model has no output {', '.join(map(repr, unknown))}; it has "
                f"{', '.join(map(repr, keras_names))}"
            )
        return {aliases[name]: value for name, value in given.items()}
    if isinstance(given, list | tuple):
        if len(given) != len(names):
            raise ValueError(
                f"{option}: got a list of {len(given)} for the {len(names)} outputs {', '.join(map(repr, keras_names))}"
            )
        return dict(zip(names, given, strict=True))
    if option == "loss_weights":
        raise ValueError(f"loss_weights must be a list or dict with a number for each output, got {given!r}")
    return dict.fromkeys(names, given)
