"""Batch normalization with stored statistics."""

import keras

from tinytl_keras.layers.frozen_weights import FrozenWeights


@keras.saving.register_keras_serializable(package="tinytl")
class BatchNormalization(FrozenWeights, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that always uses its stored statistics, in training too.

    The moving mean and variance never change and no value crosses from one sample to another. What it
    computes is Keras's own inference, so a converter can fold gamma and the statistics into the convolution
    before it. Statistics of a small batch, as on a device, are too noisy to learn from (paper, section 4.1).

    Args:
        frozen: Names of frozen weights, e.g. `["gamma"]`. Defaults to none. See `FrozenWeights`.
        **kwargs: The arguments of `keras.layers.BatchNormalization`.

    Input shape: Any; the channel axis is `axis`. Output shape: Same as the input's.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=False, mask=mask)
