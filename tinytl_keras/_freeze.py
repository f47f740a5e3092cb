"""A copy of one layer in which only what the method trains can train."""

import builtins
import dis
import os
import re
import sys
import warnings
from types import CodeType
from typing import Any

import keras

from tinytl_keras import layers
from tinytl_keras._keras_compat import from_own_config, layers_within, own_trainable_by_nature, trainable_by_nature
from tinytl_keras.layers.lite_residual import BRANCH_WEIGHTS
from tinytl_keras.methods import trains, trains_in_branch

_PACKAGE = os.path.dirname(__file__) + os.sep
_FREEZABLE = (
    layers.BatchNormalization,
    layers.Conv1D,
    layers.Conv1DTranspose,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.Conv3D,
    layers.Conv3DTranspose,
    layers.Dense,
    layers.DepthwiseConv1D,
    layers.DepthwiseConv2D,
    layers.EinsumDense,
    layers.Embedding,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.PReLU,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
)
_OURS = (layers.GroupConv2D, layers.WeightStandardizedConv2D, layers.WeightStandardizedDepthwiseConv2D)
_COUNTERPART = {getattr(keras.layers, ours.__name__): ours for ours in _FREEZABLE}
_COUNTERPART |= {ours: ours for ours in (*_FREEZABLE, *_OURS)}


def frozen_copy(layer: Any, method: str, is_classifier: bool) -> Any:
    """Copies a layer or operation, without the values of its weights.

    Keras's own layers become those of `tinytl_keras.layers`, with the weights that the method does not train
    frozen. A layer of another class is copied as it is where the method trains all of it, and is put in a
    `FrozenLayer` where the method trains only a part of it, or nothing, or where it holds statistics.

    Args:
        layer: A built layer, or an operation of `keras.ops` in a functional model.
        method: One of `METHODS`.
        is_classifier: Whether all weights of the layer train, whatever the method.

    Returns:
        The new layer, not built yet.

    Raises:
        ValueError: The layer has no config to copy it from, or Keras cannot make a layer of it again.

    Warns:
        UserWarning: A layer of a user's class has a weight that may be a bias and is not called so.
    """
    if not isinstance(layer, keras.layers.Layer):
        return _copy(layer, type(layer))
    method = "full" if is_classifier else method
    weights = trainable_by_nature(layer)
    trained = _trained(layer, method)
    if type(layer) in _COUNTERPART:
        trained_names = {weight.name for weight in trained}
        frozen = [weight.name for weight in weights if weight.name not in trained_names]
        return _copy(layer, _COUNTERPART[type(layer)], frozen=frozen)
    if len(trained) == len(weights) and not _holds_batch_normalization(layer):
        return _copy(layer, type(layer))
    _warn_of_other_names(layer, method)
    return layers.FrozenLayer(_copy(layer, type(layer)), method if trained else None)


def copy_of_branch(layer: layers.LiteResidual, main: Any, method: str) -> layers.LiteResidual:
    """Copies a lite residual with another main layer, and with the branch's weights frozen as the method says."""
    return _copy(layer, layers.LiteResidual, main=main, frozen=frozen_in_branch(method))


def frozen_in_branch(method: str) -> list[str]:
    """The weights of a lite residual branch that a method does not train."""
    return [weight for weight in BRANCH_WEIGHTS if not trains_in_branch(method, weight)]


def call_copy(layer: Any, copy: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Calls the copy of a layer on the symbolic tensors that stand for what the layer itself was called on.

    Raises:
        ValueError: The copy cannot do it.
    """
    try:
        return copy(*args, **kwargs)
    except Exception as error:  # whatever a user's layer raises
        raise _cannot_copy(layer, "its copy cannot be called on what it was called on", error) from error


def _trained(layer: keras.layers.Layer, method: str) -> list[keras.Variable]:
    return [
        weight
        for inner in layers_within(layer)
        for weight in own_trainable_by_nature(inner)
        if trains(method, weight.name, type(inner).__name__)
    ]


def _warn_of_other_names(layer: keras.layers.Layer, method: str) -> None:
    """Says which vectors of a user's own layers stay frozen because no name tells that they are biases."""
    if not trains(method, "bias", ""):
        return
    left = [
        weight.path
        for inner in layers_within(layer)
        if not type(inner).__module__.startswith(("keras.", "tinytl_keras."))
        for weight in own_trainable_by_nature(inner)
        if len(weight.shape) == 1 and weight.name not in ("gamma", "scale") and not trains(method, weight.name, "")
    ]
    if left:
        warnings.warn(
            f"Layer {layer.name!r} ({type(layer).__name__}): method={method!r} leaves {left} frozen. It trains weights "
            "that are named 'bias' or 'beta'. Where one of these is a bias, name it so: "
            "self.add_weight(name='bias', …).",
            stacklevel=_level_of_caller(),
        )


def _level_of_caller() -> int:
    """The `stacklevel`, for the function that calls this one, of the first line outside this package."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _holds_batch_normalization(layer: keras.layers.Layer) -> bool:
    return any(isinstance(inner, keras.layers.BatchNormalization) for inner in layers_within(layer))


def _copy(layer: Any, cls: type, **changes: Any) -> Any:
    try:
        config = {**layer.get_config(), **changes}
    except NotImplementedError as error:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied: Keras cannot tell the arguments that it "
            "was made with. Give the class a `get_config` that returns them."
        ) from error
    if "trainable" in config:
        config["trainable"] = True
    try:
        copy = from_own_config(cls, config)
        if isinstance(copy, keras.layers.Lambda):
            _check_globals(copy.function)
        return copy
    except Exception as error:  # whatever a user's layer raises
        raise _cannot_copy(layer, "Keras cannot make it again from what its `get_config` returns", error) from error


def _check_globals(function: Any) -> None:
    """Raises NameError where a function whose code alone Keras has copied would raise it when it runs."""
    if code := getattr(function, "__code__", None):
        missing = sorted(_globals_of(code) - function.__globals__.keys() - vars(builtins).keys())
        if missing:
            raise NameError(f"its function uses the globals {', '.join(missing)}")


def _globals_of(code: CodeType) -> set[str]:
    """The names that a function's code, and the functions inside it, look up in its module."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    return names.union(*(_globals_of(inner) for inner in code.co_consts if isinstance(inner, CodeType)))


def _cannot_copy(layer: Any, what: str, error: Exception) -> ValueError:
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    reason = " ".join(line for line in lines if not line.startswith(("Exception encountered when calling", "Arg", " ")))
    reason = re.split(r"[.:] (?=Make sure|Full object)", reason)[0].removesuffix(".")
    if isinstance(layer, keras.layers.Lambda):
        advice = (
            "Keras copies a lambda without the globals that it uses, and a function by its name alone. Hand a lambda "
            "the numbers it uses by the layer's `arguments={'name': value}`; or decorate the function, or a "
            "keras.layers.Layer subclass that has it as its `call`, with"
        )
    else:
        advice = "Its `get_config` must return every argument of its `__init__`, and its class be decorated with"
    return ValueError(
        f"Layer {layer.name!r} ({type(layer).__name__}) cannot be copied: {what} ({type(error).__name__}: {reason}). "
        f"{advice} @keras.saving.register_keras_serializable()."
    )
