"""A wrapper that freezes a whole layer of any class."""

from typing import Any

import keras

from tinytl_keras._keras_compat import layers_within


@keras.saving.register_keras_serializable(package="tinytl")
class FrozenLayer(keras.layers.Layer):
    """Holds a layer none of whose weights ever trains, whatever `trainable` is set to.

    For layers that cannot be taken apart: a user's own class, or one made of other layers. The layer always
    runs as in inference (`training=False`), so nothing in it moves: no statistics, no spectral norm. The
    wrapper carries the layer's name.

    Args:
        layer: The `keras.layers.Layer` to freeze. Its class must be registered to be saved, as always.
        **kwargs: `name` (defaults to the layer's) and `dtype`.

    Input shape, output shape: Those of `layer`, with any number of inputs.
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        super().__init__(**{"name": layer.name, **kwargs})
        self.layer = layer
        self.supports_masking = layer.supports_masking
        self._freeze()

    @property
    def trainable(self) -> bool:
        """Always False; setting it changes nothing."""
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._freeze()

    def _freeze(self) -> None:
        # One by one: Keras passes over the layers within when a layer's `trainable` is set to the value it has.
        for layer in layers_within(self.layer):
            layer.trainable = False

    def build(self, input_shape):
        """Leaves the building to the layer's first call, which knows all of its inputs."""

    def call(self, *args: Any, **kwargs: Any):
        outputs = self.layer(*args, **{**kwargs, "training": False})
        self._freeze()  # also what the first call has made inside the layer
        return outputs

    def compute_mask(self, inputs, previous_mask):
        return self.layer.compute_mask(inputs, previous_mask)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FrozenLayer":
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})
