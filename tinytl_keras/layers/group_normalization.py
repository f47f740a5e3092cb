"""Group normalization, Keras's and the paper's."""

import math
from typing import Any

import keras
from keras import ops

from tflite_export.lite_residual import largest_divisor
from tinytl_keras.layers.frozen_weights import FrozenWeights


@keras.saving.register_keras_serializable(package="tinytl")
class GroupNormalization(FrozenWeights, keras.layers.GroupNormalization):
    """`keras.layers.GroupNormalization` with frozen weights, and with the paper's groups where asked for.

    The paper normalizes groups of 8 channels: `GroupNormalization(channels_per_group=8)`. What is computed then
    is the same up to rounding, in operations of rank 4 at most, `[batch, height·width, groups, channels a group]`,
    for which TFLite and microcontrollers have kernels.

    Args:
        groups: Number of groups. Defaults to 32, as in Keras. Not used with `channels_per_group`.
        channels_per_group: Largest number of channels in a group: the groups get the largest number up to it
            that divides the channels. None, the default: `groups` counts.
        frozen: Names of frozen weights, e.g. `["gamma"]`. Defaults to none. See `FrozenWeights`.
        **kwargs: The other arguments of `keras.layers.GroupNormalization`.

    Input shape: Any; the channel axis is `axis`, the last with `channels_per_group`. Output shape: Same as the input's.

    Raises:
        ValueError: `channels_per_group` is below 1, or given with an axis that is not the last.
    """

    def __init__(self, groups: int = 32, *, channels_per_group: int | None = None, **kwargs: Any):
        super().__init__(groups=groups, **kwargs)
        self.channels_per_group = channels_per_group
        if channels_per_group is not None and (channels_per_group < 1 or self.axis != -1):
            raise ValueError(
                "`channels_per_group` must be 1 or more, and the channel axis the last. "
                f"Received: channels_per_group={channels_per_group!r}, axis={self.axis!r}"
            )

    def build(self, input_shape):
        if self.channels_per_group is not None:
            self.groups = input_shape[-1] // largest_divisor(input_shape[-1], self.channels_per_group)
        super().build(input_shape)

    def call(self, inputs):
        if self.channels_per_group is None:
            return super().call(inputs)
        dtype = keras.backend.result_type(inputs.dtype, "float32")  # sums of squares overflow in float16
        shape = ops.shape(inputs)  # not -1 for the batch: TensorFlow's optimizer loses sight of equal shapes then
        pixels = math.prod(shape[1:-1]) if None not in inputs.shape[1:-1] else -1
        inputs = ops.reshape(ops.cast(inputs, dtype), (shape[0], pixels, self.groups, shape[-1] // self.groups))
        centred = inputs - ops.mean(inputs, axis=(1, 3), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(1, 3), keepdims=True)
        outputs = ops.reshape(centred * ops.rsqrt(variance + self.epsilon), shape)
        if self.scale:
            outputs = outputs * ops.cast(self.gamma, dtype)
        if self.center:
            outputs = outputs + ops.cast(self.beta, dtype)
        return ops.cast(outputs, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels_per_group": self.channels_per_group}
