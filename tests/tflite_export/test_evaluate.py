"""The evaluator against TensorFlow's kernels, over awkward shapes; windows are in test_evaluate_windows.py."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tflite_export.evaluator_calls import RNG, agree, constant, normal, run
from tflite_export.evaluate import evaluate
from tflite_export.graph import CANONICAL, Graph, Op, Quantization, Tensor, Variable

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


def test_l2_normalization():
    x = normal(3, 5, 7)
    x[0, 0] = 0
    agree("L2_NORMALIZATION", (x,), tf.nn.l2_normalize(x, -1))


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
