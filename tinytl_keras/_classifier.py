"""The classifier of a model: where it is, and a new one in its place."""

import math
from collections.abc import Callable, Container
from typing import Any

import keras

from tinytl_keras._keras_compat import graph_of, producer

_POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


# What gives probabilities: layers and operations by class, functions of an Activation layer by name.
_OPERATIONS, _FUNCTIONS = ("Softmax", "LogSoftmax", "Sigmoid"), ("softmax", "log_softmax", "sigmoid")


def find_classifier(tensor: keras.KerasTensor, probabilities: int = 0) -> tuple[Any, ...]:
    """Finds the call of the classifier that an output of a model comes from.

    Going backwards from the output, through everything that has one input and no weights (softmax, dropout,
    reshape, …) and into nested models, the first layer with weights is the classifier if it is a Dense layer,
    or a 1x1 convolution on a 1x1 map, or on a larger one whose average becomes probabilities (SqueezeNet).
    Otherwise there is none: the output is a feature map or a vector.

    Args:
        tensor: An output of a functional model.
        probabilities: How many a sample has behind `tensor`; 0: what is behind it makes none of it.

    Returns:
        The nodes to go through, from the model's own down into nested models; the last one's operation is
        the classifier. Empty where there is none.
    """
    node, index = producer(tensor)
    while not node.is_input:
        inner = graph_of(node.operation)
        path = find_classifier(inner.outputs[index], probabilities) if inner else ()
        if path or _is_classifier(node, probabilities):
            return (node, *path)
        if gives_probabilities(node.operation) and None not in node.outputs[0].shape[1:]:
            probabilities = math.prod(node.outputs[0].shape[1:])
        if getattr(node.operation, "weights", ()) or len(node.input_tensors) != 1:
            return ()
        node, index = producer(node.input_tensors[0])
    return ()


def gives_probabilities(operation: Any) -> bool:
    """Whether a layer or operation ends in softmax or sigmoid, an activation of its own included."""
    activation = getattr(operation, "activation", None)  # of an Activation layer, or a layer's own
    return type(operation).__name__ in _OPERATIONS or getattr(activation, "__name__", "") in _FUNCTIONS


def _is_classifier(node: Any, probabilities: int) -> bool:
    layer = node.operation
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)):
        output_shape = node.outputs[0].shape[1:]
        on_one_point = None not in output_shape and math.prod(output_shape) == layer.filters
        return (on_one_point or layer.filters == probabilities) and set(layer.kernel_size) == {1}
    return isinstance(layer, keras.layers.Dense)


def new_classifier(
    num_classes: int, dropout: float, taken_names: Container[str]
) -> Callable[[keras.KerasTensor], keras.KerasTensor]:
    """Makes the head `[global average pooling] -> [Dropout] -> Dense(num_classes)`, linear.

    Args:
        num_classes: Number of outputs. 1 is for yes or no: a single logit, for
            `keras.losses.BinaryCrossentropy(from_logits=True)`.
        dropout: Rate of the Dropout before the Dense layer; 0: none.
        taken_names: Names that the new layers must not have.

    Returns:
        A function from the features, `[batch, …, channels]` of rank 2 to 5, pooled where the rank is above 2,
        to the logits `[batch, num_classes]`, in Keras's `floatx` also under a mixed precision policy.
    """

    def name(wanted: str) -> str:
        candidates = [wanted, *(f"{wanted}_{i}" for i in range(1, 1000))]
        return next(candidate for candidate in candidates if candidate not in taken_names)

    def head(features: keras.KerasTensor) -> keras.KerasTensor:
        rank = len(features.shape)
        if rank != 2 and rank not in _POOLING:
            raise ValueError(
                "`num_classes` needs features of rank 2 to 5, [batch, …, channels], to put a classifier on. "
                f"Received: {features.name!r} of shape {tuple(features.shape)}"
            )
        if rank in _POOLING:
            features = _POOLING[rank](name=name("head_pooling"))(features)
        if dropout:
            features = keras.layers.Dropout(dropout, name=name("head_dropout"))(features)
        return keras.layers.Dense(int(num_classes), dtype=keras.config.floatx(), name=name("head"))(features)

    return head
