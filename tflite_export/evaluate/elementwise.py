"""Operators that work element by element, with numpy's (and TFLite's) broadcasting."""

from __future__ import annotations

import math

import numpy as np

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _logistic(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))))


def _gelu(op, x):
    if op.attributes.get("approximate", False):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)))


def _divide(op, x, y):
    if x.dtype.kind in "iu":  # towards zero, as in C
        return np.where((x < 0) != (y < 0), -(np.abs(x) // np.abs(y)), np.abs(x) // np.abs(y))
    return x / y


def _select(op, condition, x, y):
    """SELECT: a condition of rank 1 chooses whole rows."""
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape(-1, *[1] * (x.ndim - 1))
    return np.where(condition, x, y)


def _softmax(op, x):
    shifted = op.attributes.get("beta", 1.0) * (x - x.max(-1, keepdims=True))
    return np.exp(shifted) / np.exp(shifted).sum(-1, keepdims=True)


def _log_softmax(op, x):
    shifted = x - x.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def _l2_normalization(op, x):
    return x / np.maximum(np.sqrt(np.square(x).sum(-1, keepdims=True)), 1e-6)


ACTIVATIONS = {
    "RELU": lambda x: np.maximum(x, 0),
    "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1),
    "TANH": np.tanh,
}

_UNARY = {
    **ACTIVATIONS,
    "LOGISTIC": _logistic,
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "EXP": np.exp,
    "LOG": np.log,
    "SQRT": np.sqrt,
    "RSQRT": lambda x: 1 / np.sqrt(x),
    "SQUARE": np.square,
    "NEG": np.negative,
    "ABS": np.abs,
    "SIGN": np.sign,
    "FLOOR": np.floor,
    "CEIL": np.ceil,
    "ROUND": np.rint,
    "SIN": np.sin,
    "COS": np.cos,
    "ZEROS_LIKE": np.zeros_like,
    "LOGICAL_NOT": np.logical_not,
}

_BINARY = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "POW": np.power,
    "FLOOR_DIV": np.floor_divide,
    "FLOOR_MOD": np.mod,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "SQUARED_DIFFERENCE": lambda x, y: np.square(x - y),
    "PRELU": lambda x, slope: np.where(x >= 0, x, slope * x),
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
}

KERNELS = {
    **{kind: lambda op, x, f=f: f(x) for kind, f in _UNARY.items()},
    **{kind: lambda op, x, y, f=f: f(x, y) for kind, f in _BINARY.items()},
    "DIV": _divide,
    "ADD_N": lambda op, *xs: np.sum(xs, axis=0),
    "LEAKY_RELU": lambda op, x: np.where(x >= 0, x, op.attributes["alpha"] * x),
    "GELU": _gelu,
    "SOFTMAX": _softmax,
    "LOG_SOFTMAX": _log_softmax,
    "L2_NORMALIZATION": _l2_normalization,
    "SELECT": _select,
    "SELECT_V2": lambda op, condition, x, y: np.where(condition, x, y),
    "CAST": lambda op, x: x,  # storing the output casts, floats towards zero as in C
}
