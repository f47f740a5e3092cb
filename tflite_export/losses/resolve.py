"""From a name or a Keras loss to one of ours."""

from __future__ import annotations

from tflite_export.losses.binary_crossentropy import BinaryCrossentropy
from tflite_export.losses.categorical_crossentropy import CategoricalCrossentropy, SparseCategoricalCrossentropy
from tflite_export.losses.mean_squared_error import MeanSquaredError

_LOSSES = {
    loss.name: loss
    for loss in (SparseCategoricalCrossentropy, CategoricalCrossentropy, BinaryCrossentropy, MeanSquaredError)
}
# Of Keras's configuration, what must have this value for the loss to be ours.
_NEUTRAL = {"reduction": "sum_over_batch_size", "axis": -1, "ignore_class": None, "dtype": "float32"}


def resolve(loss, label_smoothing: float, final_activation: str, outputs: int):
    """The loss that a name or a Keras loss object stands for.

    Args:
        loss: a name, or a Keras loss object.
        label_smoothing: in [0, 1); a Keras object's own value must agree.
        final_activation: "softmax", "sigmoid" or "linear": what the model ends in.
        outputs: how many values it returns per sample.

    Raises:
        ValueError: the loss is unknown or differs from ours, or does not fit the model's end.
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
    if not isinstance(loss, str):
        label_smoothing = _checked_keras_loss(loss, label_smoothing, final_activation)
    name = loss if isinstance(loss, str) else loss.name
    if name not in _LOSSES:
        raise ValueError(f"loss {name!r} is not supported; use one of {', '.join(map(repr, _LOSSES))}")
    kind = _LOSSES[name]
    if final_activation not in kind.final_activations:
        raise ValueError(
            f"loss {name!r} does not fit a model that ends in a {final_activation}; it takes "
            f"{' or '.join(kind.final_activations)}"
        )
    if outputs < 2 and "softmax" in kind.final_activations and kind is not MeanSquaredError:
        raise ValueError(f"loss {name!r} of a single output is always 0; use 'binary_crossentropy', or two outputs")
    if kind is MeanSquaredError:
        if label_smoothing:
            raise ValueError("label_smoothing has no meaning for 'mean_squared_error'")
        return kind()
    return kind(label_smoothing)


def _checked_keras_loss(loss, label_smoothing: float, final_activation: str) -> float:
    """The label smoothing of a Keras loss, after a look at everything else that it says."""
    if not hasattr(loss, "get_config"):
        raise ValueError(f"loss must be a name or a Keras loss object, got {loss!r}")
    config = loss.get_config()
    differing = {key: config[key] for key, value in _NEUTRAL.items() if config.get(key, value) != value}
    if differing:
        raise ValueError(f"{type(loss).__name__} with {differing} is not supported")
    if "from_logits" in config and config["from_logits"] != (final_activation == "linear"):
        raise ValueError(
            f"{type(loss).__name__}(from_logits={config['from_logits']}) does not fit a model that ends in a "
            f"{final_activation} layer"
        )
    own = config.get("label_smoothing", 0.0)
    if own and label_smoothing and own != label_smoothing:
        raise ValueError(f"label_smoothing is {label_smoothing}, and {own} in the Keras loss")
    return own or label_smoothing
