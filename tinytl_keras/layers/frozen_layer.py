"""A wrapper that freezes a layer of any class, whole or but for what a method trains."""

from typing import Any

import keras

from tinytl_keras._keras_compat import layers_within, own_trainable_by_nature
from tinytl_keras.methods import check_method, trains


@keras.saving.register_keras_serializable(package="tinytl")
class FrozenLayer(keras.layers.Layer):
    """Holds a layer of whose weights only those ever train that a method trains, whatever `trainable` is set to.

    For layers that cannot be taken apart: a user's own class, or one made of other layers. The layer always
    runs as in inference (`training=False`), so nothing in it moves by itself: no statistics, no spectral norm. The
    wrapper carries the layer's name.

    Args:
        layer: The `keras.layers.Layer` to freeze. Its class must be registered to be saved, as always.
        method: One of `tinytl_keras.METHODS`, which tells weights by their names, see `tinytl_keras.convert`: with
            `"bias"` every weight of the layer, and of the layers that it holds, named `bias` or `beta` trains. None,
            the default: nothing trains.
        **kwargs: `name` (defaults to the layer's) and `dtype`.

    Input shape, output shape: Those of `layer`, with any number of inputs.

    Raises:
        ValueError: `method` is not one of `METHODS`.
    """

    def __init__(self, layer: keras.layers.Layer, method: str | None = None, **kwargs: Any):
        super().__init__(**{"name": layer.name, **kwargs})
        if method is not None:
            check_method(method)
        self.layer = layer
        self.method = method
        self.supports_masking = layer.supports_masking
        self._freeze()

    @property
    def trainable(self) -> bool:
        """Whether the weights that the method trains do so; always False without a method."""
        return self.method is not None and super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        self._freeze()

    def _freeze(self) -> None:
        # One by one: Keras passes over the layers within when a layer's `trainable` is set to the value it has.
        for layer in layers_within(self.layer):
            layer.trainable = self.trainable
        for layer in layers_within(self.layer):
            for weight in own_trainable_by_nature(layer):
                weight.trainable = self.trainable and trains(self.method, weight.name, type(layer).__name__)

    def build(self, input_shape):
        """Leaves the building to the layer's first call, which knows all of its inputs."""

    def call(self, *args: Any, **kwargs: Any):
        outputs = self.layer(*args, **{**kwargs, "training": False})
        self._freeze()  # also what the first call has made inside the layer
        return outputs

    def compute_mask(self, inputs, previous_mask):
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        layer = keras.saving.serialize_keras_object(self.layer)
        return {**super().get_config(), "layer": layer, "method": self.method}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FrozenLayer":
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
