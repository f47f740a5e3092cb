"""The shapes that operators write, told from their operands, and the operands that no kernel takes.

One plain function per family, written from the `Prepare` functions of LiteRT's kernels. Its parameters are the
operator and its operands, optional ones with a default; it returns the shape of every output.
"""

from __future__ import annotations

import functools
import inspect
import math

import numpy as np

from tflite_export.graph import Op
from tflite_export.shapes import custom, elementwise, moves, state, windows
from tflite_export.shapes.operands import LARGEST, MOST_AXES, Shape, expect, name_of

RULES = {**windows.RULES, **elementwise.RULES, **moves.RULES, **state.RULES, **custom.RULES}


def infer_shapes(op: Op) -> tuple[Shape, ...]:
    """The shapes of `op`'s outputs.

    Raises:
        UnknownShape: an operand that decides a shape, such as RESHAPE's, is no constant.
        ValueError: no rule for the operator, or operands that it cannot take: their number, rank, shape, dtype, a
            stride of 0, an axis outside, an empty tensor. The message has the operator, what it got and what it
            expects.
    """
    if op.kind not in RULES:
        raise ValueError(f"{name_of(op)}: there is no rule for the shapes of {op.kind}")
    _check_operands(op)
    shapes = tuple(tuple(int(n) for n in shape) for shape in RULES[op.kind](op, *op.inputs))
    expect(op, len(shapes) == len(op.outputs), f"{len(op.outputs)} outputs", f"{len(shapes)}")
    for shape, output in zip(shapes, op.outputs):
        expect(op, all(n > 0 for n in shape), f"an output of shape {list(shape)}", "sizes above 0")
        expect(op, len(shape) <= MOST_AXES, f"an output of {len(shape)} axes", f"at most {MOST_AXES}")
        size = math.prod(shape) * np.dtype(output.dtype).itemsize
        expect(op, size <= LARGEST, f"an output of {size} bytes", f"at most {LARGEST}")
    return shapes


def has_rule(kind: str) -> bool:
    """Whether `infer_shapes` knows operators of `kind`."""
    return kind in RULES


def _check_operands(op: Op) -> None:
    """The number of operands, none of them empty: only an int32 list (a scalar's shape, no axes) may be."""
    required, most = _counts(RULES[op.kind])
    expected = f"{required} to {most}" if required < most else f"{required}"
    expect(op, required <= len(op.inputs) <= most, f"{len(op.inputs)} operands", expected)
    expect(op, None not in op.inputs[:required], "an absent operand", "it")
    for tensor in op.inputs:
        if tensor is not None:
            list_of_none = tensor.shape == (0,) and tensor.dtype in ("int32", "int64")
            expect(op, all(n > 0 for n in tensor.shape) or list_of_none, f"the empty tensor {tensor}", "sizes above 0")
            expect(op, len(tensor.shape) <= MOST_AXES, f"{tensor}", f"at most {MOST_AXES} axes")


@functools.cache
def _counts(rule) -> tuple[int, float]:
    """How many operands a rule takes at least and at most."""
    parameters = list(inspect.signature(rule).parameters.values())[1:]
    required = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)
    return required, math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(parameters)
