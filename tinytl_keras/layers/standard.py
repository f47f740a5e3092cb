"""Keras's own layers with the argument `frozen`, under their own names: weight files find layers by class name.

Each is the class of the same name in `keras.layers` and `FrozenWeights`, and nothing more.
"""

import keras

from tinytl_keras.layers.frozen_weights import FrozenWeights


@keras.saving.register_keras_serializable(package="tinytl")
class Conv1D(FrozenWeights, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Conv2D(FrozenWeights, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Conv3D(FrozenWeights, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Conv1DTranspose(FrozenWeights, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Conv2DTranspose(FrozenWeights, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Conv3DTranspose(FrozenWeights, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class DepthwiseConv1D(FrozenWeights, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class DepthwiseConv2D(FrozenWeights, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class SeparableConv1D(FrozenWeights, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class SeparableConv2D(FrozenWeights, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Dense(FrozenWeights, keras.layers.Dense):
    """`keras.layers.Dense` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class EinsumDense(FrozenWeights, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class Embedding(FrozenWeights, keras.layers.Embedding):
    """`keras.layers.Embedding` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class PReLU(FrozenWeights, keras.layers.PReLU):
    """`keras.layers.PReLU` with frozen weights."""


@keras.saving.register_keras_serializable(package="tinytl")
class LayerNormalization(FrozenWeights, keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` with frozen weights."""
