"""Group convolutions that train fast on a CPU."""

from typing import Any

import keras

from tinytl_keras.layers.standard import Conv2D


def group_convolution(inputs: Any, kernel: Any, strides: tuple[int, int], biased: bool = False) -> Any:
    """Convolves groups of channels, as one operation, with a gradient of one convolution a group.

    TensorFlow has no CPU gradient of a grouped convolution without oneDNN. Keras therefore compiles the whole
    operation with XLA, in each call anew, and its gradient takes up to 40 times as long as this one.

    Args:
        inputs: `[batch, height, width, channels]`, padded already.
        kernel: `[height, width, channels / groups, filters]`; the first filters / groups belong to the first group.
        strides: Height and width steps.
        biased: Whether a bias is added to the result. Then the groups are convolved one by one: TensorFlow's graphs
            would fuse the bias in, and without oneDNN the fused operation knows no groups.

    Returns:
        `[batch, rows, columns, filters]` of the inputs' dtype.
    """
    import tensorflow as tf

    groups = inputs.shape[-1] // kernel.shape[2]
    steps = {"strides": [1, *strides, 1], "padding": "VALID"}

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            of_inputs, of_kernel = [], []
            for x, w, dy in zip(*(tf.split(tensor, groups, axis=-1) for tensor in (inputs, kernel, upstream))):
                sizes = {"input_sizes": tf.shape(x), "filter": w}
                of_inputs.append(tf.raw_ops.Conv2DBackpropInput(**sizes, out_backprop=dy, **steps))
                sizes = {"input": x, "filter_sizes": tf.shape(w)}
                of_kernel.append(tf.raw_ops.Conv2DBackpropFilter(**sizes, out_backprop=dy, **steps))
            return tf.concat(of_inputs, -1), tf.concat(of_kernel, -1)

        if not biased:
            return tf.nn.conv2d(inputs, kernel, **steps), gradient
        pairs = zip(*(tf.split(tensor, groups, axis=-1) for tensor in (inputs, kernel)))
        return tf.concat([tf.nn.conv2d(x, w, **steps) for x, w in pairs], -1), gradient

    return convolve(tf.convert_to_tensor(inputs), tf.convert_to_tensor(kernel))


def is_plain(layer: keras.layers.Conv2D) -> bool:
    """Whether `group_convolution` computes what the layer asks for."""
    plain = layer.padding == "valid" and layer.data_format == "channels_last" and set(layer.dilation_rate) == {1}
    return plain and layer.groups > 1 and keras.backend.backend() == "tensorflow"


@keras.saving.register_keras_serializable(package="tinytl")
class GroupConv2D(Conv2D):
    """`Conv2D` with a fast `group_convolution` where it has groups, no padding and no dilation.

    Args, input shape, output shape: Those of `Conv2D`.
    """

    def convolution_op(self, inputs, kernel):
        if is_plain(self):
            return group_convolution(inputs, kernel, self.strides, self.use_bias)
        return super().convolution_op(inputs, kernel)
