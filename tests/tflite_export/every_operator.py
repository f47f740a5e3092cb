"""Files by TensorFlow's converter that hold, between them, nearly every operator that we know."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

_SHAPE = (2, 6, 8, 12)


def converted(part: slice = slice(None)) -> bytes:
    """A .tflite of some of the `operators`."""

    @tf.function(autograph=False)
    def function(x, y, flags, indices):
        values = list(operators(x, y, flags, indices))[part]
        return {f"y{i}": tf.identity(value) for i, value in enumerate(values)}

    specs = [tf.TensorSpec(_SHAPE), tf.TensorSpec(_SHAPE[3:]), tf.TensorSpec(_SHAPE, "bool"), tf.TensorSpec(3, "int32")]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function(*specs)], tf.Module())
    return converter.convert()


def converted_in_parts(count: int) -> Iterator[bytes]:
    """Small files that share the operators out: the first has the first and every count-th after it, and so on."""
    for first in range(count):
        yield converted(slice(first, None, count))


def operators(x, y, flags, indices):
    """x, y float32 [2, 6, 8, 12] and [12], flags bool [2, 6, 8, 12], indices int32 [3]."""
    random = np.random.default_rng(0)

    def weights(*shape):
        return tf.constant(random.normal(size=shape).astype(np.float32))

    image = [x[:, :, :, :4] * 2.0, x]
    yield tf.nn.conv2d(x, weights(3, 5, 12, 7), 2, "SAME")
    yield tf.nn.conv2d(x, weights(3, 3, 12, 7), 1, "VALID", dilations=2)
    yield tf.nn.conv2d(x, weights(3, 3, 4, 6), (1, 2), "VALID")  # three groups
    yield tf.nn.depthwise_conv2d(x, weights(3, 2, 12, 1), [1, 2, 2, 1], "SAME")
    yield tf.nn.conv2d_transpose(x, weights(3, 3, 5, 12), (2, 12, 16, 5), 2, "SAME")
    yield tf.nn.conv2d_transpose(x, weights(3, 3, 5, 12), (2, 13, 17, 5), 2, "VALID")
    yield tf.nn.bias_add(tf.reshape(x, (96, 12)) @ weights(12, 5), weights(5))
    yield x[0] @ tf.reshape(y, (12, 1))
    yield tf.matmul(x, weights(1, 6, 8, 5), transpose_a=True)
    yield tf.nn.max_pool2d(x, 3, 2, "SAME")
    yield tf.nn.avg_pool2d(x, (2, 3), 1, "VALID")
    yield from (x + y, x[:, :1] - x, x * x[0, 0], x / 3.0, x**2.0, tf.maximum(x, y), tf.minimum(x, 0.5))
    yield from (tf.math.squared_difference(x, y), tf.math.floordiv(x, 2.0), tf.math.floormod(x, 2.0))
    yield from (tf.nn.relu(x), tf.nn.relu6(x), tf.nn.elu(x), tf.nn.leaky_relu(x, 0.1), tf.sigmoid(x), tf.tanh(x))
    yield from (tf.exp(x), tf.math.log(x), tf.sqrt(x), tf.math.rsqrt(x), tf.square(x), -x, tf.abs(x), tf.sign(x))
    yield from (tf.floor(x), tf.math.ceil(x), tf.round(x), tf.sin(x), tf.cos(x), tf.nn.softmax(x), tf.nn.log_softmax(x))
    yield from (x > y, x >= y, x < y, x <= y, tf.equal(x, y), tf.not_equal(x, y))
    yield from (tf.logical_and(flags, x > 0), tf.logical_or(flags, x > 0), tf.logical_not(flags))
    yield from (tf.where(flags, x, 0.0), tf.where(flags[:, :1], x, y), tf.cast(flags, tf.float32), tf.cast(x, tf.int32))
    for reduce in (tf.reduce_sum, tf.reduce_mean, tf.reduce_max, tf.reduce_min, tf.reduce_prod):
        yield from (reduce(x, (1, -2)), reduce(x, 0, keepdims=True), reduce(x))
    yield from (tf.reduce_any(flags, 1), tf.reduce_all(flags, (0, 1), keepdims=True))
    yield from (tf.argmax(x, -1), tf.argmin(x, 1, output_type=tf.int32))
    yield from (tf.reshape(x, (4, -1, 6)), tf.squeeze(x[:1, :, :1]), tf.squeeze(x[:1, :, :1], 0), x[:, None])
    yield from (tf.transpose(x, (2, 0, 3, 1)), tf.pad(x, ((0, 1), (2, 0), (0, 0), (3, 1))))
    yield tf.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=3.0)
    yield from (tf.pad(x, ((0, 1), (5, 0), (0, 0), (3, 1)), "REFLECT"), tf.pad(x, ((2, 2),) * 4, "SYMMETRIC"))
    yield from (tf.slice(x, (0, 1, 2, 3), (2, -1, 3, 4)), x[:, 1:5:2, ::-1, 3], x[..., -1:], x[1, ..., tf.newaxis])
    yield from (x[:, 5:1:-2], x[:, -3:], x[0], x[:, :, 1:-1])
    yield from (*tf.split(x, 3, 3), *tf.split(x, (1, 2, 3), 1), *tf.unstack(x, axis=1)[:1])
    yield from (tf.concat(image, 3), tf.concat([x, x[:1]], 0), tf.stack([x, x], 2), tf.tile(x, (1, 2, 1, 3)))
    yield from (tf.gather(x, indices, axis=1), tf.gather(x, indices[:, None], axis=3), tf.broadcast_to(y, (3, 2, 12)))
    yield tf.gather(tf.transpose(x, (1, 0, 2, 3)), tf.reshape(tf.tile(indices, (4,)), (6, 2)), axis=1, batch_dims=1)
    yield from (tf.image.resize(x, (9, 3)), tf.image.resize(x, (12, 16), "nearest"))
    yield tf.compat.v1.image.resize_bilinear(x, (5, 5), align_corners=True)
    yield from (tf.nn.space_to_depth(x, 2), tf.nn.depth_to_space(x, 2), tf.reverse(x, (1, 2)))
    yield tf.space_to_batch(x, (2, 4), ((1, 1), (0, 0)))
    yield tf.batch_to_space(tf.tile(x, (2, 1, 1, 1)), (2, 2), ((1, 0), (0, 3)))
    yield from (tf.one_hot(indices, 4), tf.one_hot(indices, 4, axis=0), tf.nn.l2_normalize(x, -1), tf.nn.gelu(x))
    yield from (tf.fill((3, 4), y[0]), tf.math.add_n([x, x, x]), tf.zeros_like(x), tf.nn.relu(x + 1.0))
