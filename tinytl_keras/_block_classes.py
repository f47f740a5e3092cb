"""Layer classes that are one block each: what topology cannot see into, and is told of."""

from typing import Any, TypeVar

import keras

_LayerClass = TypeVar("_LayerClass", bound=type[keras.layers.Layer])

_registered: set[type] = set()
# By their package and name: neither package is needed, and importing one takes seconds.
_KNOWN = {
    ("keras_cv", "FusedMBConvBlock"),
    ("keras_cv", "MBConvBlock"),
    ("keras_hub", "DepthwiseConvBlock"),
    ("keras_hub", "FusedMBConvBlock"),
    ("keras_hub", "InvertedResidualBlock"),
    ("keras_hub", "MBConvBlock"),
}


def register_block(layer_class: _LayerClass) -> _LayerClass:
    """Says that every layer of this class is one block, so that `convert` puts a lite residual branch around it.

    For a layer that makes its convolutions inside: `convert` sees one layer with several convolutions there, cannot
    tell whether that is a block, a part of one or a whole network, and would leave it without a branch, with a
    warning. The branch reads the layer's input and is added to its output; what the layer does in between stays as it
    is, a shortcut of its own too. The MBConv blocks of keras_cv and keras_hub are registered already.

    Biases need no registration: those inside any layer train where their names are `bias` or `beta`, see `convert`.

    ```python
    @tinytl_keras.register_block
    @keras.saving.register_keras_serializable(package="mine")
    class MyBlock(keras.layers.Layer):
        ...

    tinytl_keras.register_block(some_library.Block)
    ```

    Args:
        layer_class: A subclass of `keras.layers.Layer`, whose layers take and give one map
            `[batch, height, width, channels]`. Its subclasses count too. The steps of the branch are told from the
            sizes of both maps; where these are not known, from the layer's attribute `strides`.

    Returns:
        `layer_class`, so that it can be a decorator.

    Raises:
        TypeError: `layer_class` is not a class of layers.
    """
    if not isinstance(layer_class, type) or not issubclass(layer_class, keras.layers.Layer):
        raise TypeError(
            "`register_block` takes a subclass of keras.layers.Layer, the class and not a layer of it. "
            f"Received: {layer_class!r}"
        )
    _registered.add(layer_class)
    return layer_class


def is_registered_block(operation: Any) -> bool:
    """Whether an operation is a layer of a class that is one block."""
    classes = type(operation).__mro__
    return any(cls in _registered or (cls.__module__.partition(".")[0], cls.__name__) in _KNOWN for cls in classes)
