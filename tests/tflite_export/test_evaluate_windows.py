"""Windows and matrices in the evaluator against TensorFlow's kernels and gradients, over awkward shapes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.tflite_export.evaluator_calls import RNG, agree, normal, run
from tflite_export.geometry import explicit_padding

# Convolutions

# (batch, height, width, in channels, out channels, kernel, stride, dilation, groups)
CONVOLUTIONS = [
    (1, 5, 7, 3, 4, (3, 3), 1, 1, 1),
    (3, 7, 5, 1, 2, (3, 2), 2, 1, 1),
    (1, 9, 8, 2, 3, (3, 3), 1, 2, 1),
    (3, 6, 6, 4, 6, (5, 3), 2, 1, 2),
    (1, 1, 1, 5, 1, (1, 1), 1, 1, 1),
    (1, 7, 7, 3, 3, (3, 3), 3, 1, 3),
    (1, 4, 3, 1, 1, (2, 4), 2, 1, 1),
]
PADDINGS = ["SAME", "VALID", "explicit"]


def convolution(case, padding):
    n, h, w, c, o, kernel, stride, dilation, groups = case
    if padding != "SAME" and (h < (kernel[0] - 1) * dilation + 1 or w < (kernel[1] - 1) * dilation + 1):
        pytest.skip("the kernel does not fit")
    attributes = {
        "stride_h": stride, "stride_w": stride, "dilation_h_factor": dilation, "dilation_w_factor": dilation,
        "padding": ((2, 1), (0, 1)) if padding == "explicit" else padding,
    }  # fmt: skip
    tf_padding = [(0, 0), (2, 1), (0, 1), (0, 0)] if padding == "explicit" else padding
    return normal(n, h, w, c), normal(o, *kernel, c // groups), attributes, (stride, tf_padding, dilation)


def reference_conv_2d(x, kernel, stride, padding, dilation, groups):
    """Differentiable on TensorFlow's CPU, which has neither dilated nor grouped gradients."""
    o, kh, kw, i = kernel.shape
    spread = np.zeros((o, (kh - 1) * dilation + 1, (kw - 1) * dilation + 1, i))
    spread[:, ::dilation, ::dilation] = kernel
    parts = zip(tf.split(x, groups, axis=3), np.split(spread.transpose(1, 2, 3, 0), groups, axis=3))
    return tf.concat([tf.nn.conv2d(part, weights, stride, padding) for part, weights in parts], axis=3)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_conv_2d_and_its_input_gradient(case, padding):
    x, kernel, attributes, (stride, tf_padding, dilation) = convolution(case, padding)
    bias = normal(kernel.shape[0])
    variable = tf.Variable(x)
    with tf.GradientTape() as tape:
        expected = reference_conv_2d(variable, kernel, stride, tf_padding, dilation, groups=case[-1])
    upstream = normal(*expected.shape)
    agree("CONV_2D", (x, kernel, None), expected, **attributes)
    activated = dict(attributes, fused_activation_function="RELU6")
    agree("CONV_2D", (x, kernel, bias), tf.nn.relu6(expected + bias), **activated)
    agree("CONV_2D_INPUT_GRADIENT", (upstream, kernel), tape.gradient(expected, variable, upstream), **attributes)


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_depthwise_conv_2d_and_its_input_gradient(case, padding, multiplier):
    x, kernel, attributes, (stride, tf_padding, dilation) = convolution(case, padding)
    if stride > 1 and dilation > 1:
        pytest.skip("TensorFlow has no strided and dilated convolution")
    channels = x.shape[3]
    kernel = normal(1, *kernel.shape[1:3], channels * multiplier)
    bias = normal(channels * multiplier)
    variable = tf.Variable(x)
    strides = [1, stride, stride, 1]
    with tf.GradientTape() as tape:
        hwim = kernel[0].reshape(*kernel.shape[1:3], channels, multiplier)
        padded = tf.pad(variable, tf_padding) if padding == "explicit" else variable
        name = "VALID" if padding == "explicit" else padding
        expected = tf.nn.depthwise_conv2d(padded, hwim, strides, name, dilations=[dilation, dilation])
    upstream = normal(*expected.shape)
    agree("DEPTHWISE_CONV_2D", (x, kernel, bias), expected + bias, depth_multiplier=multiplier, **attributes)
    gradient = tape.gradient(expected, variable, upstream)
    agree("DEPTHWISE_CONV_2D_INPUT_GRADIENT", (upstream, kernel), gradient, **attributes)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    "n, size, kernel, stride", [(1, (5, 4), (3, 3), 2), (3, (7, 9), (2, 3), 1), (1, (3, 3), (1, 2), 3)]
)
def test_transpose_conv(n, size, kernel, stride, padding):
    weights = normal(2, *kernel, 3)  # [out, height, width, in]
    small = [-(-s // stride) if padding == "SAME" else (s - k) // stride + 1 for s, k in zip(size, kernel)]
    x, shape = normal(n, *small, 3), (n, *size, 2)
    expected = tf.nn.conv2d_transpose(x, weights.transpose(1, 2, 0, 3), shape, stride, padding)
    arrays = (np.array(shape, np.int32), weights, x)
    agree("TRANSPOSE_CONV", arrays, expected, stride_h=stride, stride_w=stride, padding=padding)
    bias = normal(2)
    agree("TRANSPOSE_CONV", (*arrays, bias), expected + bias, stride_h=stride, stride_w=stride, padding=padding)


def test_matrix_products():
    x, kernel, bias = normal(3, 5), normal(4, 5), normal(4)
    agree("FULLY_CONNECTED", (x, kernel, None), x @ kernel.T)
    agree("FULLY_CONNECTED", (x, kernel, bias), np.maximum(x @ kernel.T + bias, 0), fused_activation_function="RELU")
    x = normal(2, 3, 5)
    agree("FULLY_CONNECTED", (x, kernel, bias), x @ kernel.T + bias, keep_num_dims=True)
    agree("FULLY_CONNECTED", (x, kernel, bias), (x @ kernel.T + bias).reshape(6, 4), keep_num_dims=False)
    for adj_x, adj_y in itertools.product([False, True], repeat=2):
        for kind, lead in (("MATMUL", ()), ("BATCH_MATMUL", (3, 2))):
            a, b = normal(*lead, *((4, 3) if adj_x else (3, 4))), normal(*lead, *((5, 4) if adj_y else (4, 5)))
            agree(kind, (a, b), tf.matmul(a, b, adj_x, adj_y), adj_x=adj_x, adj_y=adj_y)
    a, b = normal(3, 1, 2, 4), normal(5, 4, 1)
    agree("BATCH_MATMUL", (a, b), a @ b)


# Pools and resizing

POOLS = [(1, 5, 7, 3, (2, 2), 2), (3, 7, 5, 1, (3, 3), 2), (1, 6, 4, 2, (3, 2), 1), (3, 3, 3, 4, (3, 3), 1)]


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("n, h, w, c, size, stride", POOLS)
def test_pools_and_their_gradients(n, h, w, c, size, stride, padding):
    attributes = {"filter_height": size[0], "filter_width": size[1], "stride_h": stride, "stride_w": stride}
    for pad in (padding, explicit_padding(padding, (h, w), size, (stride, stride))):
        attributes["padding"] = pad
        x = tf.Variable(RNG.integers(-2, 3, (n, h, w, c)).astype(float))  # small integers: ties in most windows
        with tf.GradientTape(persistent=True) as tape:
            maximum = tf.nn.max_pool2d(x, size, stride, padding)
            average = tf.nn.avg_pool2d(x, size, stride, padding)
        upstream = normal(*maximum.shape)
        agree("MAX_POOL_2D", (x.numpy(),), maximum, **attributes)
        agree("AVERAGE_POOL_2D", (x.numpy(),), average, **attributes)
        agree("AVERAGE_POOL_2D_GRADIENT", (upstream,), tape.gradient(average, x, upstream), **attributes)
        gradient = tape.gradient(maximum, x, upstream)
        agree("MAX_POOL_2D_GRADIENT", (x.numpy(), maximum.numpy(), upstream), gradient, **attributes)


@pytest.mark.parametrize("size, target", [((3, 5), (6, 10)), ((7, 4), (3, 9)), ((1, 1), (4, 3)), ((5, 5), (5, 5))])
@pytest.mark.parametrize("mode", [{}, {"half_pixel_centers": True}, {"align_corners": True}])
def test_resizing(size, target, mode):
    x, shape = normal(3, *size, 2), np.array(target, np.int32)
    expected = tf.raw_ops.ResizeBilinear(images=tf.constant(x, tf.float32), size=shape, **mode)
    got = run("RESIZE_BILINEAR", (x, shape), (3, *target, 2), **mode)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    expected = tf.raw_ops.ResizeNearestNeighbor(images=x, size=shape, **mode)
    agree("RESIZE_NEAREST_NEIGHBOR", (x, shape), expected, **mode)
