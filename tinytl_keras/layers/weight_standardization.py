"""Convolutions whose kernels are standardized before use (Qiao et al., arXiv 1903.10520), as in the paper's nets."""

import math
from typing import Any

import keras
from keras import ops

from tinytl_keras.layers.frozen_weights import FrozenWeights
from tinytl_keras.layers.group_convolution import group_convolution, is_plain

EPSILON = 1e-5


def standardize(kernel: Any, epsilon: float = EPSILON, axis: tuple[int, ...] = (0, 1, 2)) -> Any:
    """Gives each output channel of a kernel mean 0 and standard deviation 1; the gradient flows through both.

    `(w − mean) / (std + epsilon)`, std with one degree of freedom less than values, no gain: `MyConv2d` of the
    paper's code (once-for-all, `utils/my_modules.py`).

    Args:
        kernel: `[height, width, input channels, output channels]`; of a depthwise convolution
            `[height, width, channels, multiplier]`.
        epsilon: Added to the standard deviation.
        axis: The axes of one output channel's values; of a depthwise kernel `(0, 1)`.

    Returns:
        A tensor of the kernel's shape and dtype.
    """
    count = math.prod(kernel.shape[i] for i in axis)
    centred = kernel - ops.mean(kernel, axis=axis, keepdims=True)
    variance = ops.sum(ops.square(centred), axis=axis, keepdims=True) / (count - 1)
    return centred / (ops.sqrt(variance) + epsilon)


def _check(layer: keras.layers.Layer, count: int) -> None:
    if count < 2:
        raise ValueError(
            f"Layer {layer.name!r} ({type(layer).__name__}) cannot standardize a kernel of one value an output "
            "channel. Use a larger kernel, fewer groups, or a convolution without standardization."
        )


@keras.saving.register_keras_serializable(package="tinytl")
class WeightStandardizedConv2D(FrozenWeights, keras.layers.Conv2D):
    """`keras.layers.Conv2D`, grouped or not, that standardizes its kernel in every call.

    Args:
        frozen: Names of frozen weights, e.g. `["kernel"]`. Defaults to none. See `FrozenWeights`.
        **kwargs: The arguments of `keras.layers.Conv2D`.

    Input shape, output shape: Those of `keras.layers.Conv2D`.

    Raises:
        ValueError: An output channel has a single weight, whose standard deviation is not defined.
    """

    standardizes_kernel = True  # what `tflite_export.int8_weights` asks

    def build(self, input_shape):
        super().build(input_shape)
        _check(self, math.prod(self.kernel.shape[:3]))

    def convolution_op(self, inputs, kernel):
        kernel = standardize(ops.convert_to_tensor(kernel))
        if is_plain(self):
            return group_convolution(inputs, kernel, self.strides, self.use_bias)
        return super().convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable(package="tinytl")
class WeightStandardizedDepthwiseConv2D(FrozenWeights, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that standardizes its kernel in every call, each output channel by itself.

    Args:
        frozen: Names of frozen weights, e.g. `["kernel"]`. Defaults to none. See `FrozenWeights`.
        **kwargs: The arguments of `keras.layers.DepthwiseConv2D`.

    Input shape, output shape: Those of `keras.layers.DepthwiseConv2D`.

    Raises:
        ValueError: The kernel is 1x1, so an output channel has a single weight.
    """

    standardizes_kernel = True

    def build(self, input_shape):
        super().build(input_shape)
        _check(self, math.prod(self.kernel.shape[:2]))

    def call(self, inputs):
        outputs = ops.depthwise_conv(
            inputs,
            standardize(ops.convert_to_tensor(self.kernel), axis=(0, 1)),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        if self.use_bias:
            shape = (-1, 1, 1) if self.data_format == "channels_first" else (-1,)
            outputs = ops.add(outputs, ops.reshape(self.bias, shape))
        return outputs if self.activation is None else self.activation(outputs)
