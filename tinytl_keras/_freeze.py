"""A copy of one layer in which only what the method trains can train."""

import warnings
from typing import Any

import keras

from tinytl_keras import layers
from tinytl_keras._keras_compat import from_own_config, layers_within, trainable_by_nature
from tinytl_keras.methods import trains

_FREEZABLE = (
    "BatchNormalization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose Dense DepthwiseConv1D "
    "DepthwiseConv2D EinsumDense Embedding GroupNormalization LayerNormalization PReLU RMSNormalization "
    "SeparableConv1D SeparableConv2D"
).split()
_FREEZABLE_CLASS = {getattr(package, name): getattr(layers, name) for name in _FREEZABLE for package in (keras.layers, layers)}


def frozen_copy(layer: Any, method: str, is_classifier: bool) -> Any:
    """Copies a layer or operation, without the values of its weights.

    Keras's own layers become those of `tinytl_keras.layers`, with the weights that the method does not train
    frozen. A layer of another class is copied as it is where the method trains all of it, and is put in a
    `FrozenLayer` where the method trains only a part of it, or nothing.

    Args:
        layer: A built layer, or an operation of `keras.ops` in a functional model.
        method: One of the methods that are built.
        is_classifier: Whether all weights of the layer train, whatever the method.

    Returns:
        The new layer, not built yet.

    Warns:
        UserWarning: A bias, beta or more that the method trains is in a layer that has to be frozen whole.
    """
    if not isinstance(layer, keras.layers.Layer):
        return _copy(layer, type(layer))
    weights = trainable_by_nature(layer)
    trained = [weight for weight in weights if is_classifier or trains(method, weight.name)]
    if type(layer) in _FREEZABLE_CLASS:
        frozen = [weight.name for weight in weights if not any(weight is other for other in trained)]
        return _copy(layer, _FREEZABLE_CLASS[type(layer)], frozen=frozen)
    if len(trained) == len(weights) and not _holds_batch_normalization(layer):
        return _copy(layer, type(layer))
    if trained:
        warnings.warn(
            f"Layer {layer.name!r} ({type(layer).__name__}) is frozen whole: method={method!r} trains only a part of "
            f"it, {[weight.path for weight in trained]}, which cannot be told apart in a layer of this class. "
            "Build the model from Keras's own layers to train that part.",
            stacklevel=2,
        )
    return layers.FrozenLayer(_copy(layer, type(layer)))


def _holds_batch_normalization(layer: keras.layers.Layer) -> bool:
    return any(isinstance(inner, keras.layers.BatchNormalization) for inner in layers_within(layer))


def _copy(layer: Any, cls: type, **changes: Any) -> Any:
    config = {**layer.get_config(), **changes}
    if "trainable" in config:
        config["trainable"] = True
    return from_own_config(cls, config)
