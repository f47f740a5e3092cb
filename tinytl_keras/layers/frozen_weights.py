"""The mixin that makes freezing single weights a part of a layer."""

from collections.abc import Sequence
from typing import Any

import keras


class FrozenWeights:
    """Gives a Keras layer the argument `frozen`: the names of those of its weights that never train.

    `layer.kernel.trainable = False` trains right, but is lost in silence by saving, cloning, copying and
    `model.trainable = True`. Here the names are in the layer's config, and every change of `trainable` is
    followed by freezing them again. A frozen weight keeps its place in `weights`, so weight files and
    `set_weights` lists of the plain layer fit.

    Put it before the layer class: `class Dense(FrozenWeights, keras.layers.Dense)`.

    Args:
        frozen: Names of frozen weights, as in `weight.name`, e.g. `["kernel"]`. Defaults to none.

    Raises:
        ValueError: `frozen` is one string, or (when the layer is built) names a weight that the layer has not.
    """

    def __init__(self, *args: Any, frozen: Sequence[str] = (), **kwargs: Any):
        super().__init__(*args, **kwargs)
        if isinstance(frozen, str):
            raise ValueError(f"`frozen` must be a list of weight names, e.g. [{frozen!r}]. Received: frozen={frozen!r}")
        self.frozen = tuple(frozen)

    def build(self, input_shape):
        super().build(input_shape)
        names = [weight.name for weight in self.weights]
        unknown = [name for name in self.frozen if name not in names]
        if unknown:
            raise ValueError(
                f"Layer {self.name!r} ({type(self).__name__}) has no weight named {unknown[0]!r} to freeze. "
                f"Expected names among {names}. Received: frozen={list(self.frozen)}"
            )
        self._freeze()

    @property
    def trainable(self) -> bool:
        """Settable boolean: whether the weights that are not in `frozen` train."""
        return super().trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        keras.layers.Layer.trainable.fset(self, value)
        self._freeze()

    def _freeze(self) -> None:
        for weight in self.weights:
            if weight.name in self.frozen:
                weight.trainable = False

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "frozen": list(self.frozen)}
