"""What a rule asks of its operands; the message names the operator, what it got and what it expects."""

from __future__ import annotations

import numpy as np

from tflite_export.graph import Op, Tensor

Shape = tuple[int, ...]

LARGEST = 2**31 - 1  # what an int32 counts: bytes of a tensor, strides, sizes
MOST_AXES = 8
QUANTIZED = ("int8", "uint8", "int16")
NUMBERS = ("float32", "float16", "float64", *QUANTIZED, "uint16", "int32", "uint32", "int64", "uint64")


class UnknownShape(ValueError):
    """The shape depends on a value that only a run knows."""


def name_of(op: Op) -> str:
    return f"{op.kind} {op.origin or (op.outputs[0].name if op.outputs else '')!r}"


def expect(op: Op, holds: bool, got: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name_of(op)}: got {got}, expects {expected}")


def expect_rank(op: Op, tensor: Tensor, *ranks: int) -> None:
    expect(op, len(tensor.shape) in ranks, f"{tensor}", f"rank {' or '.join(map(str, ranks))}")


def expect_dtype(op: Op, tensor: Tensor, *dtypes: str) -> None:
    expect(op, tensor.dtype in dtypes, f"{tensor}", " or ".join(dtypes))


def expect_same_dtype(op: Op, *tensors: Tensor) -> None:
    """Of these and of the outputs."""
    tensors = (*tensors, *op.outputs)
    got = ", ".join(map(repr, tensors))
    expect(op, len({tensor.dtype for tensor in tensors}) == 1, got, "operands and outputs of one dtype")


def integers(op: Op, tensor: Tensor, length: int | None = None) -> list[int]:
    """The values of a constant int32 or int64 operand."""
    expect_dtype(op, tensor, "int32", "int64")
    expect(op, length is None or tensor.size == length, f"{tensor}", f"{length} values")
    if not tensor.is_constant:
        raise UnknownShape(f"{name_of(op)}: its shape depends on {tensor.name!r}, which is no constant")
    return [int(value) for value in np.ravel(tensor.data)]


def position_of(op: Op, axis: int, rank: int) -> int:
    expect(op, -rank <= axis < rank, f"axis {axis}", f"one of {rank} axes")
    return axis % rank


def positive(op: Op, *names: str) -> tuple[int, ...]:
    values = tuple(int(op.attributes.get(name, 1)) for name in names)
    for name, value in zip(names, values):
        expect(op, 0 < value < 2**15, f"{name} {value}", "1 to 32767")  # kernels keep them in 16 bits
    return values


def broadcast(op: Op, *shapes: Shape) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{name_of(op)}: got shapes {list(map(list, shapes))}, expects ones that broadcast") from None
