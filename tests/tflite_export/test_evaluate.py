"""The evaluator against TensorFlow's kernels and gradients, over awkward shapes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tflite_export.evaluate import evaluate
from tflite_export.geometry import explicit_padding
from tflite_export.graph import CANONICAL, Graph, Op, Quantization, Tensor, Variable

RNG = np.random.default_rng(7)


def normal(*shape):
    return RNG.normal(size=shape)


def constant(value, dtype=None):
    data = np.asarray(value, dtype)
    return Tensor("constant", data.shape, data.dtype.name, data)


def run(kind, arrays, outputs, precision="float64", **attributes):
    """Runs one operator. float64 arrays become float32 inputs; other arrays (axes, shapes) become constants."""
    inputs = [
        None if a is None else Tensor(f"x{i}", a.shape, "float32") if a.dtype == np.float64 else constant(a)
        for i, a in enumerate(arrays)
    ]
    outputs = outputs if isinstance(outputs, list) else [outputs]
    outputs = [o if isinstance(o, Tensor) else Tensor(f"y{i}", o) for i, o in enumerate(outputs)]
    named = {t.name: t for t in inputs if t is not None and not t.is_constant}
    graph = Graph(kind, named, {t.name: t for t in outputs}, (Op(kind, tuple(inputs), tuple(outputs), attributes),))
    feeds = {t.name: a for t, a in zip(inputs, arrays) if t is not None and t.name in named}
    results = evaluate(graph, feeds, precision=precision)
    return results["y0"] if len(outputs) == 1 else [results[t.name] for t in outputs]


def agree(kind, arrays, expected, dtype="float32", **attributes):
    expected = np.asarray(expected)
    got = run(kind, arrays, Tensor("y0", expected.shape, dtype), **attributes)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11, err_msg=kind)


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


# Element by element

UNARY = {
    "RELU": tf.nn.relu, "RELU6": tf.nn.relu6, "RELU_N1_TO_1": lambda x: tf.clip_by_value(x, -1, 1),
    "LOGISTIC": tf.sigmoid, "TANH": tf.tanh, "EXP": tf.exp, "NEG": tf.negative, "ABS": tf.abs, "SQUARE": tf.square,
    "LOG_SOFTMAX": tf.nn.log_softmax, "ELU": tf.nn.elu, "SIGN": tf.sign, "FLOOR": tf.floor,
    "HARD_SWISH": lambda x: x * tf.nn.relu6(x + 3) / 6, "GELU": lambda x: x / 2 * (1 + tf.math.erf(x / np.sqrt(2))),
}  # fmt: skip
POSITIVE = {"LOG": tf.math.log, "SQRT": tf.sqrt, "RSQRT": tf.math.rsqrt}
BINARY = {
    "ADD": tf.add, "SUB": tf.subtract, "MUL": tf.multiply, "DIV": tf.divide, "MAXIMUM": tf.maximum,
    "MINIMUM": tf.minimum, "SQUARED_DIFFERENCE": tf.math.squared_difference,
}  # fmt: skip
COMPARISONS = {
    "EQUAL": tf.equal, "NOT_EQUAL": tf.not_equal, "GREATER": tf.greater, "GREATER_EQUAL": tf.greater_equal,
    "LESS": tf.less, "LESS_EQUAL": tf.less_equal,
}  # fmt: skip


@pytest.mark.parametrize("kind", [*UNARY, *POSITIVE])
def test_unary(kind):
    x = normal(3, 5, 1, 7) * 4
    if kind in POSITIVE:
        agree(kind, (np.abs(x),), POSITIVE[kind](np.abs(x)))
    else:
        agree(kind, (x,), UNARY[kind](x))


@pytest.mark.parametrize("kind", [*BINARY, *COMPARISONS])
def test_binary(kind):
    for shapes in [((3, 4), (3, 4)), ((3, 1, 5), (4, 1)), ((1,), (2, 3))]:
        x, y = (RNG.integers(1, 4, shape).astype(float) for shape in shapes)
        if kind in BINARY:
            agree(kind, (x, y), BINARY[kind](x, y))
            agree(kind, (x, y), tf.nn.relu(BINARY[kind](x, y)), fused_activation_function="RELU")
        else:
            agree(kind, (x, y), COMPARISONS[kind](x, y), dtype="bool")


def test_integer_division_goes_towards_zero():
    x, y = np.array([7, -7, 7, -7], np.int32), np.array([2, 2, -2, -2], np.int32)
    np.testing.assert_array_equal(run("DIV", (x, y), Tensor("y0", (4,), "int32")), [3, -3, -3, 3])


def test_softmax_beta():
    x = normal(3, 5)
    agree("SOFTMAX", (x,), tf.nn.softmax(2 * x), beta=2.0)
    agree("SOFTMAX", (x * 1000,), tf.nn.softmax(x * 1000))


def test_select_and_logic():
    condition, x, y = RNG.random((3, 4)) < 0.5, normal(3, 4), normal(3, 4)
    for kind in ("SELECT", "SELECT_V2"):
        agree(kind, (condition, x, y), tf.where(condition, x, y))
    rows = np.array([True, False, True])
    agree("SELECT", (rows, x, y), np.where(rows[:, None], x, y))
    agree("SELECT_V2", (condition[:, :1], x, y[0]), tf.where(condition[:, :1], x, y[0]))
    other = RNG.random((3, 4)) < 0.5
    agree("LOGICAL_AND", (condition, other), condition & other, dtype="bool")
    agree("LOGICAL_OR", (condition, other), condition | other, dtype="bool")
    agree("LOGICAL_NOT", (condition,), ~condition, dtype="bool")


def test_cast():
    agree("CAST", (np.array([-1.7, 0.0, 2.9]),), [-1, 0, 2], dtype="int32")
    agree("CAST", (np.array([-1.7, 0.0, 2.9]),), [True, False, True], dtype="bool")
    agree("CAST", (np.array([3, -4], np.int32),), [3.0, -4.0])
    agree("CAST", (np.array([True, False]),), [1.0, 0.0])


# Reductions and shapes


@pytest.mark.parametrize("keep_dims", [False, True])
@pytest.mark.parametrize("axes", [[0], [1, 2], [-1], [0, 1, 2, 3], []])
def test_reductions(axes, keep_dims):
    x = normal(3, 5, 1, 2)
    kinds = {"SUM": tf.reduce_sum, "MEAN": tf.reduce_mean, "REDUCE_MAX": tf.reduce_max, "REDUCE_MIN": tf.reduce_min}
    for kind, function in kinds.items():
        agree(kind, (x, np.array(axes, np.int32)), function(x, axes, keepdims=keep_dims), keep_dims=keep_dims)
    for kind, function in {"REDUCE_ANY": tf.reduce_any, "REDUCE_ALL": tf.reduce_all}.items():
        expected = function(x > 0, axes, keepdims=keep_dims)
        agree(kind, (x > 0, np.array(axes, np.int32)), expected, dtype="bool", keep_dims=keep_dims)


def test_arg_max_and_one_hot():
    x = normal(3, 5)
    agree("ARG_MAX", (x, np.array(1, np.int32)), tf.argmax(x, 1), dtype="int64")
    labels, depth = np.array([2, 0, 4], np.int32), np.array(5, np.int32)
    on, off = np.array(1.0), np.array(0.0)
    agree("ONE_HOT", (labels, depth, on, off), tf.one_hot(labels, 5), axis=-1)
    agree("ONE_HOT", (labels, depth, on, off), tf.one_hot(labels, 5, axis=0), axis=0)


def ints(*values):
    return np.array(values, np.int32)


def test_shape_operators():
    x = normal(2, 3, 5, 4)
    agree("RESHAPE", (x, ints(6, -1)), tf.reshape(x, (6, -1)), new_shape=(6, 20))
    agree("EXPAND_DIMS", (x, ints(-2)), tf.expand_dims(x, -2))
    agree("SQUEEZE", (x[:1, :, :1],), x[0, :, 0], squeeze_dims=(0, -2))
    agree("SQUEEZE", (x[:1, :, :1],), x[0, :, 0])
    agree("TRANSPOSE", (x, ints(3, 0, 2, 1)), tf.transpose(x, (3, 0, 2, 1)))
    paddings = np.array([[0, 0], [1, 2], [0, 1], [1, 0]], np.int32)
    agree("PAD", (x, paddings), tf.pad(x, paddings))
    agree("PADV2", (x, paddings, np.array(2.5)), tf.pad(x, paddings, constant_values=2.5))
    for mode in ("REFLECT", "SYMMETRIC"):
        agree("MIRROR_PAD", (x, paddings), tf.pad(x, paddings, mode), mode=mode)
    agree("SLICE", (x, ints(0, 1, 2, 0), ints(2, 2, -1, 1)), x[0:2, 1:3, 2:, 0:1])
    agree("CONCATENATION", (x, x * 2), tf.concat([x, x * 2], -1), axis=-1)
    agree("CONCATENATION", (x, x * 2), tf.concat([x, x * 2], 1), axis=1)
    agree("PACK", (x, x * 2), tf.stack([x, x * 2], 1), axis=1)
    agree("BROADCAST_TO", (x[:, :1], ints(2, 3, 5, 4)), tf.broadcast_to(x[:, :1], x.shape))
    agree("TILE", (x, ints(1, 2, 1, 3)), tf.tile(x, (1, 2, 1, 3)))
    agree("DEPTH_TO_SPACE", (x,), tf.nn.depth_to_space(x, 2), block_size=2)
    agree("SPACE_TO_DEPTH", (x[:, :2, :4],), tf.nn.space_to_depth(x[:, :2, :4], 2), block_size=2)
    block, paddings, crops = ints(2, 3), np.array([[1, 0], [0, 1]], np.int32), np.array([[0, 1], [2, 0]], np.int32)
    dealt = tf.space_to_batch(x, block, paddings).numpy()
    agree("SPACE_TO_BATCH_ND", (x, block, paddings), dealt)
    agree("BATCH_TO_SPACE_ND", (dealt, block, crops), tf.batch_to_space(dealt, block, crops))
    agree("GATHER", (x, ints(2, 0)), tf.gather(x, [2, 0], axis=1), axis=1)
    rows = np.array([[2, 0], [1, 1]], np.int32)
    agree("GATHER", (x, rows), tf.gather(x, rows, axis=1, batch_dims=1), axis=1, batch_dims=1)
    agree("REVERSE_V2", (x, ints(1)), tf.reverse(x, [1]))


def test_split():
    x = normal(2, 3, 6)
    for part, expected in zip(run("SPLIT", (ints(-1), x), [(2, 3, 2)] * 3, num_splits=3), tf.split(x, 3, -1)):
        np.testing.assert_array_equal(part, expected)
    parts = run("SPLIT_V", (x, ints(1, 2), ints(1)), [(2, 1, 6), (2, 2, 6)], num_splits=2)
    np.testing.assert_array_equal(parts[1], x[:, 1:])


def test_strided_slice():
    x = normal(4, 5, 6)
    agree("STRIDED_SLICE", (x, ints(0, 1, 0), ints(4, 5, 6), ints(2, 1, 3)), x[0:4:2, 1:5, 0:6:3])
    agree("STRIDED_SLICE", (x, ints(3, 1, 0), ints(0, 0, 6), ints(-1, 1, 2)), x[::-1, 1:, 0:6:2], end_mask=0b011)
    agree("STRIDED_SLICE", (x, ints(3, 1, 0), ints(0, 5, 6), ints(1, 1, 2)), x[:, 1:5, 0:6:2], begin_mask=1, end_mask=1)
    agree(
        "STRIDED_SLICE",
        (x, ints(1, 0, 2), ints(2, 0, 3), ints(1, 1, 1)),
        x[1, ..., 2],
        ellipsis_mask=2,
        shrink_axis_mask=5,
    )
    agree("STRIDED_SLICE", (x, ints(0, 1), ints(0, 3), ints(1, 1)), x[None, 1:3], new_axis_mask=1)


# Quantisation and state


def test_quantize_and_dequantize():
    x = np.array([[-3.0, -0.25, 0.2], [0.75, 1.26, 99.0]])
    per_tensor = Tensor("y0", x.shape, "int8", quantization=Quantization((0.5,), (3,)))
    np.testing.assert_array_equal(run("QUANTIZE", (x,), per_tensor), [[-3, 2, 3], [5, 6, 127]])
    per_channel = Tensor("y0", x.shape, "int16", quantization=Quantization((0.5, 0.25, 1.0), (0, 0, 0), 1))
    np.testing.assert_array_equal(run("QUANTIZE", (x,), per_channel), [[-6, -1, 0], [2, 5, 99]])
    for dtype, quantization in (("uint8", Quantization((0.5,), (128,))), ("int8", Quantization((0.5, 2.0), (0, 1), 0))):
        stored = np.array([[1, 2, 3], [4, 5, 100]], dtype)
        source = Tensor("q", stored.shape, dtype, stored, quantization)
        y = Tensor("y", stored.shape)
        got = evaluate(Graph("g", {}, {"y": y}, (Op("DEQUANTIZE", (source,), (y,)),)), {})["y"]
        shape = (-1, 1) if len(quantization.scale) > 1 else ()
        scale, zero_point = np.reshape(quantization.scale, shape), np.reshape(quantization.zero_point, shape)
        np.testing.assert_allclose(got, scale * (stored - zero_point.astype(float)))


def test_a_quantised_kernel_stands_for_its_real_values():
    x, stored = normal(2, 3), RNG.integers(-127, 128, (4, 3)).astype(np.int8)
    kernel = Tensor("kernel", (4, 3), "int8", stored, Quantization((0.1, 0.2, 0.3, 0.4), (0, 0, 0, 0), 0))
    source, y = Tensor("x", (2, 3)), Tensor("y", (2, 4))
    graph = Graph("g", {"x": source}, {"y": y}, (Op("FULLY_CONNECTED", (source, kernel, None), (y,)),))
    real = stored * np.array([[0.1], [0.2], [0.3], [0.4]])
    np.testing.assert_allclose(evaluate(graph, {"x": x})["y"], x @ real.T, rtol=1e-12)


def test_variables_are_read_and_assigned():
    counter = Variable("counter", np.float32([1, 2]))
    old, new = Tensor("old", (2,)), Tensor("new", (2,))
    ops = (
        Op("READ_VARIABLE", (), (old,), {"variable": counter}),
        Op("ADD", (old, constant(np.float32([1]))), (new,)),
        Op("ASSIGN_VARIABLE", (new,), (), {"variable": counter}),
    )
    graph = Graph("step", {}, {"old": old}, ops)
    state = {}
    assert evaluate(graph, {}, state)["old"].tolist() == [1, 2]
    assert evaluate(graph, {}, state)["old"].tolist() == [2, 3]
    assert state[counter].tolist() == [3, 4]
    assert evaluate(graph, {})["old"].tolist() == [1, 2]
    np.testing.assert_array_equal(counter.initial, [1, 2])


# Canonical operators without a gradient test above


def test_masks():
    y = np.array([[-1.0, 0.0, 0.5], [1.0, 6.0, 7.0]])
    passes = {"RELU": y > 0, "RELU6": (y > 0) & (y < 6), "RELU_N1_TO_1": (y > -1) & (y < 1), "NONE": y == y}
    for activation, mask in passes.items():
        agree("ACTIVATION_MASK", (y,), mask, dtype="bool", activation=activation)
    gradient = normal(1, 3)
    agree("APPLY_MASK", (gradient, y > 0), np.where(y > 0, gradient, 0))


def test_broadcast_and_all_finite():
    x = normal(3, 1, 2)
    agree("BROADCAST", (x,), np.broadcast_to(x, (3, 4, 2)))
    agree("ALL_FINITE", (x,), [True], dtype="bool")
    for bad in (np.nan, np.inf, -np.inf):
        agree("ALL_FINITE", (np.array([1.0, bad]),), [False], dtype="bool")
        agree("ZERO_UNLESS_FINITE", (np.full_like(x, bad), np.array([1.0, bad])), np.zeros_like(x))
    agree("ZERO_UNLESS_FINITE", (x, normal(3)), x)


def test_every_canonical_operator_has_a_kernel():
    from tflite_export.evaluate._evaluate import KERNELS

    assert set(CANONICAL) <= set(KERNELS)


# Precision and refusals


def test_precision():
    x = np.array([1e-9, 1.0])
    for precision, expected in (("float64", 1 + 1e-9), ("float32", 1.0)):
        got = run("SUM", (x, ints(0)), (), precision)
        assert got.dtype == precision and float(got) == expected
    with pytest.raises(ValueError, match="precision"):
        run("SUM", (x, ints(0)), (), "float16")


def test_refusals():
    x = normal(2, 3)
    with pytest.raises(ValueError, match=r"no kernel for FLEX.*y0.*x0"):
        run("FLEX", (x,), (2, 3))
    with pytest.raises(ValueError, match=r"declared \(3, 2\)"):
        run("RELU", (x,), (3, 2))
    with pytest.raises(ValueError, match=r"does not know the fused activation 'SIGN_BIT'"):
        run("ADD", (x, x), (2, 3), fused_activation_function="SIGN_BIT")
    source, y = Tensor("x", (2,)), Tensor("y", (2,))
    graph = Graph("g", {"x": source}, {"y": y}, (Op("RELU", (source,), (y,)),))
    with pytest.raises(ValueError, match=r"expects inputs \['x'\]"):
        evaluate(graph, {})
    with pytest.raises(ValueError, match=r"expects shape \(2,\)"):
        evaluate(graph, {"x": np.zeros(3)})
    with pytest.raises(ValueError, match="before any operator"):
        evaluate(graph.replace(ops=()), {"x": np.zeros(2)})
