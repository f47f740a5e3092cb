"""Elementwise operators and reductions."""

from __future__ import annotations

from tflite_export.graph import Op, Tensor
from tflite_export.shapes.operands import (
    NUMBERS,
    QUANTIZED,
    Shape,
    broadcast,
    expect,
    expect_dtype,
    expect_rank,
    expect_same_dtype,
    integers,
    position_of,
)

# Axes up to which a kernel can broadcast; operands of one shape may have more.
_BROADCAST_AXES = {"ADD": 6, "MUL": 6, "SUB": 5, "DIV": 5, "SELECT_V2": 5, "MAXIMUM": 5, "MINIMUM": 5}


def _elementwise_shape(op: Op, *tensors: Tensor) -> Shape:
    shape = broadcast(op, *(tensor.shape for tensor in tensors))
    most = _BROADCAST_AXES.get(op.kind, 4)
    fits = len(shape) <= most or all(tensor.shape == shape for tensor in tensors)
    expect(op, fits, ", ".join(map(repr, tensors)), f"at most {most} axes to broadcast")
    return shape


def _unary(op, x):
    expect_same_dtype(op, x)
    return [x.shape]


def _float_unary(op, x):
    expect_dtype(op, x, "float32", *QUANTIZED)
    return _unary(op, x)


def _softmax(op, x):
    expect(op, len(x.shape) >= 1, f"{x}", "at least one axis")
    expect_dtype(op, x, "float32", *QUANTIZED)
    expect(op, op.outputs[0].dtype in (x.dtype, "int16"), f"{x} to {op.outputs[0]}", "one dtype")
    return [x.shape]


def _logical_not(op, x):
    expect_dtype(op, x, "bool")
    return _unary(op, x)


def _cast(op, x):
    for tensor in (x, *op.outputs):
        expect_dtype(op, tensor, *NUMBERS, "bool")
    return [x.shape]


def _arithmetic(op, x, y):
    expect_dtype(op, x, *NUMBERS)
    expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, x, y)]


def _prelu(op, x, slope):
    shape = _arithmetic(op, x, slope)
    expect(op, shape == [x.shape], f"slopes {slope} for {x}", "slopes that broadcast to the operand")
    return shape


def _compare(op, x, y):
    expect(op, x.dtype == y.dtype, f"{x} and {y}", "one dtype")
    expect(op, x.dtype != "bool" or op.kind in ("EQUAL", "NOT_EQUAL"), f"{x}", "numbers")
    expect_dtype(op, op.outputs[0], "bool")
    return [_elementwise_shape(op, x, y)]


def _logical(op, x, y):
    expect_dtype(op, x, "bool")
    expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, x, y)]


def _add_n(op, *xs):
    expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    expect_dtype(op, xs[0], "float32", "int32")
    expect_same_dtype(op, *xs)
    expect(op, all(x.shape == xs[0].shape for x in xs), ", ".join(map(repr, xs)), "operands of one shape")
    return [xs[0].shape]


def _select(op, condition, x, y):
    """SELECT: the condition has the operands' shape, is one number, or chooses rows."""
    expect_dtype(op, condition, "bool")
    expect_same_dtype(op, x, y)
    fits = x.shape == y.shape and condition.shape in ((), (1,), x.shape, x.shape[:1])
    expect(op, fits, f"{condition}, {x}, {y}", "operands of one shape and a condition for each value or row")
    return [x.shape]


def _select_v2(op, condition, x, y):
    expect_dtype(op, condition, "bool")
    expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, condition, x, y)]


def _quantize(op, x):
    expect_dtype(op, x, "float32", *QUANTIZED, "int32")
    expect_dtype(op, op.outputs[0], *QUANTIZED, "int32")
    return [x.shape]


def _dequantize(op, x):
    expect_dtype(op, x, *QUANTIZED, "int4", "float16")
    expect_dtype(op, op.outputs[0], "float32")
    return [x.shape]


def _reduce(op, x, axes):
    expect_same_dtype(op, x)
    expect_dtype(op, x, *(("bool",) if op.kind in ("REDUCE_ANY", "REDUCE_ALL") else NUMBERS))
    expect_dtype(op, axes, "int32")
    expect_rank(op, axes, 0, 1)
    reduced = {position_of(op, axis, len(x.shape)) for axis in integers(op, axes)}
    if op.attributes.get("keep_dims", False):
        return [tuple(1 if i in reduced else n for i, n in enumerate(x.shape))]
    return [tuple(n for i, n in enumerate(x.shape) if i not in reduced)]


def _argument(op, x, axis):
    expect_dtype(op, op.outputs[0], "int32", "int64")
    position = position_of(op, integers(op, axis, 1)[0], len(x.shape))
    return [x.shape[:position] + x.shape[position + 1 :]]


RULES = {
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH", "LOGISTIC"), _float_unary),
    **dict.fromkeys(("HARD_SWISH", "ELU", "LEAKY_RELU", "GELU", "EXP", "LOG", "SQRT", "RSQRT"), _float_unary),
    **dict.fromkeys(("FLOOR", "CEIL", "ROUND", "SIN", "COS", "L2_NORMALIZATION"), _float_unary),
    **dict.fromkeys(("SQUARE", "NEG", "ABS", "SIGN", "ZEROS_LIKE"), _unary),
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX"), _softmax),
    "LOGICAL_NOT": _logical_not,
    "CAST": _cast,
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV", "POW", "FLOOR_DIV", "FLOOR_MOD"), _arithmetic),
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE"), _arithmetic),
    "PRELU": _prelu,
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"), _compare),
    **dict.fromkeys(("LOGICAL_AND", "LOGICAL_OR"), _logical),
    "ADD_N": _add_n,
    "SELECT": _select,
    "SELECT_V2": _select_v2,
    "QUANTIZE": _quantize,
    "DEQUANTIZE": _dequantize,
    **dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), _reduce),
    **dict.fromkeys(("ARG_MAX", "ARG_MIN"), _argument),
}
