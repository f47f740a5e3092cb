"""Appends operators and works out the shapes of what they write."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import numpy as np

from tflite_export.graph import Op, Quantization, Tensor, Variable


class Builder:
    """A growing list of operators.

    Every method adds one operator and returns the tensor that it writes. Tensors take the name of the operator's
    origin, so that whatever the compiler adds can be traced to a Keras layer.
    """

    def __init__(self, origin: str = ""):
        self.ops: list[Op] = []
        self.origin = origin

    @contextlib.contextmanager
    def at(self, origin: str) -> Iterator[None]:
        """Names `origin` as the source of the operators added inside."""
        previous, self.origin = self.origin, origin
        yield
        self.origin = previous

    def op(self, kind: str, inputs: Sequence[Tensor | None], shape, dtype="float32", quantization=None, **attributes):
        name = f"{self.origin}/{kind.lower()}" if self.origin else kind.lower()
        output = Tensor(name, tuple(int(n) for n in shape), dtype, None, quantization)
        self.ops.append(Op(kind, tuple(inputs), (output,), attributes, self.origin))
        return output

    def copy(self, op: Op) -> None:
        self.ops.append(op)

    # Variables

    def read(self, variable: Variable) -> Tensor:
        return self.op("READ_VARIABLE", (), variable.shape, variable.dtype, variable=variable)

    def assign(self, variable: Variable, value: Tensor) -> None:
        self.ops.append(Op("ASSIGN_VARIABLE", (value,), (), {"variable": variable}, self.origin))

    # Elementwise

    def binary(self, kind: str, a: Tensor, b: Tensor, dtype: str | None = None) -> Tensor:
        return self.op(kind, (a, b), np.broadcast_shapes(a.shape, b.shape), dtype or a.dtype)

    def add(self, a, b):
        return self.binary("ADD", a, b)

    def sub(self, a, b):
        return self.binary("SUB", a, b)

    def mul(self, a, b):
        return self.binary("MUL", a, b)

    def div(self, a, b):
        return self.binary("DIV", a, b)

    def maximum(self, a, b):
        return self.binary("MAXIMUM", a, b)

    def minimum(self, a, b):
        return self.binary("MINIMUM", a, b)

    def compare(self, kind, a, b):
        return self.binary(kind, a, b, "bool")

    def unary(self, kind: str, x: Tensor, **attributes) -> Tensor:
        return self.op(kind, (x,), x.shape, x.dtype, **attributes)

    def scale(self, x: Tensor, factor: float) -> Tensor:
        return x if factor == 1 else self.mul(x, constant(factor))

    def cast(self, x: Tensor, dtype: str) -> Tensor:
        return self.op("CAST", (x,), x.shape, dtype)

    def select(self, condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
        return self.op("SELECT_V2", (condition, a, b), shape, a.dtype)

    def quantize(self, x: Tensor, scale: float, zero_point: int) -> Tensor:
        return self.op("QUANTIZE", (x,), x.shape, "int8", Quantization((scale,), (zero_point,)))

    def dequantize(self, x: Tensor) -> Tensor:
        return self.op("DEQUANTIZE", (x,), x.shape, "float32")

    # Reductions and matrices

    def reduce(self, kind: str, x: Tensor, axes: Sequence[int], keep_dims: bool = False) -> Tensor:
        axes = sorted(axis % len(x.shape) for axis in axes)
        kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
        shape = kept if keep_dims else [n for i, n in enumerate(x.shape) if i not in axes]
        return self.op(kind, (x, integers(axes)), shape, x.dtype, keep_dims=keep_dims)

    def sum(self, x, axes, keep_dims=False):
        return self.reduce("SUM", x, axes, keep_dims)

    def sum_to(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Undoes broadcasting: sums `x` over the axes along which `shape` was stretched."""
        if x.shape == tuple(shape):
            return x
        extra = len(x.shape) - len(shape)
        axes = [i for i, n in enumerate(x.shape) if i < extra or (shape[i - extra] == 1 and n != 1)]
        return self.reshape(self.sum(x, axes), shape) if axes else self.reshape(x, shape)

    def matmul(self, a: Tensor, b: Tensor, adj_x: bool = False, adj_y: bool = False) -> Tensor:
        shape = (a.shape[1 if adj_x else 0], b.shape[0 if adj_y else 1])
        return self.op("MATMUL", (a, b), shape, a.dtype, adj_x=adj_x, adj_y=adj_y)

    def batch_matmul(self, a: Tensor, b: Tensor, adj_x: bool = False, adj_y: bool = False) -> Tensor:
        """Products of matrices in the last two axes; the axes in front broadcast."""
        rows, columns = a.shape[-1 if adj_x else -2], b.shape[-2 if adj_y else -1]
        shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), rows, columns)
        return self.op("BATCH_MATMUL", (a, b), shape, a.dtype, adj_x=adj_x, adj_y=adj_y)

    def matmul_along(self, matrix: np.ndarray, x: Tensor, axis: int) -> Tensor:
        """A constant matrix [new, old] times every line of `x` along `axis`, which has `old` elements."""
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
        if inner == 1:
            y = self.matmul(self.reshape(x, (outer, x.shape[axis])), constant(matrix), adj_y=True)
        else:
            y = self.batch_matmul(constant(matrix), self.reshape(x, (outer, x.shape[axis], inner)))
        return self.reshape(y, (*x.shape[:axis], len(matrix), *x.shape[axis + 1 :]))

    def zero_or_nan(self, tensors: Sequence[Tensor], limit: float = 1e37) -> Tensor:
        """[1]: 0 where everything in `tensors` is finite and below `limit`, else NaN.

        LiteRT's builtin kernels clamp an infinity to the largest float, so what counts is anything from a limit on:
        FLOOR leaves 0 of all smaller values, and the root of minus the rest is 0 or NaN. (A logarithm would not do:
        XNNPACK's makes 88.8 of a NaN on processors with AVX2 and without AVX-512.)
        """
        total = None
        for x in tensors:
            overflow = self.unary("FLOOR", self.unary("ABS", self.mul(x, constant(1 / limit))))
            part = self.reshape(self.sum(overflow, range(len(x.shape))), (1,))
            total = part if total is None else self.add(total, part)
        return self.unary("SQRT", self.sub(constant(0), total))

    # Shapes

    def reshape(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        if x.shape == tuple(shape):
            return x
        return self.op(
            "RESHAPE", (x, integers(shape)), shape, x.dtype, quantization=x.quantization, new_shape=tuple(shape)
        )

    def broadcast(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        return x if x.shape == tuple(shape) else self.op("BROADCAST", (x,), shape, x.dtype)

    def transpose(self, x: Tensor, permutation: Sequence[int]) -> Tensor:
        shape = [x.shape[i] for i in permutation]
        return self.op("TRANSPOSE", (x, integers(permutation)), shape, x.dtype, quantization=x.quantization)

    def pad(self, x: Tensor, paddings: Sequence[tuple[int, int]]) -> Tensor:
        """Zeros before and after each axis."""
        if not np.any(paddings):
            return x
        shape = [n + before + after for n, (before, after) in zip(x.shape, paddings)]
        return self.op("PAD", (x, integers(paddings)), shape, x.dtype)

    def slice(self, x: Tensor, begin: Sequence[int], size: Sequence[int]) -> Tensor:
        if x.shape == tuple(size):
            return x
        return self.op("SLICE", (x, integers(begin), integers(size)), size, x.dtype, quantization=x.quantization)

    def concatenate(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        axis %= len(tensors[0].shape)
        shape = list(tensors[0].shape)
        shape[axis] = sum(t.shape[axis] for t in tensors)
        return self.op("CONCATENATION", tuple(tensors), shape, tensors[0].dtype, axis=axis)

    def split_evenly(self, x: Tensor, count: int, axis: int) -> tuple[Tensor, ...]:
        if count == 1:
            return (x,)
        shape = (*x.shape[:axis], x.shape[axis] // count, *x.shape[axis + 1 :])
        parts = tuple(Tensor(f"{self.origin}/part_{i}", shape, x.dtype, None, x.quantization) for i in range(count))
        self.ops.append(Op("SPLIT", (integers(axis), x), parts, {"num_splits": count}, self.origin))
        return parts

    def split(self, x: Tensor, sizes: Sequence[int], names: Sequence[str]) -> tuple[Tensor, ...]:
        """A vector in pieces of these lengths."""
        pieces = tuple(Tensor(name, (int(n),), x.dtype) for name, n in zip(names, sizes, strict=True))
        inputs = (x, integers(sizes), integers(0))
        self.ops.append(Op("SPLIT_V", inputs, pieces, {"num_splits": len(pieces)}, self.origin))
        return pieces

    def gather(self, x: Tensor, indices: Sequence[int], axis: int) -> Tensor:
        """`x` at `indices` along `axis`; a SLICE where they follow one another."""
        shape = (*x.shape[:axis], len(indices), *x.shape[axis + 1 :])
        if np.array_equal(indices, np.arange(len(indices)) + indices[0]):
            return self.slice(x, [indices[0] if i == axis else 0 for i in range(len(shape))], shape)
        inputs = (x, integers(indices))
        return self.op("GATHER", inputs, shape, x.dtype, quantization=x.quantization, axis=axis, batch_dims=0)

    def copies(self, x: Tensor, times: int, axis: int) -> Tensor:
        """`times` copies of `x` along a new `axis`."""
        outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis:])
        stretched = self.broadcast(self.reshape(x, (outer, 1, inner)), (outer, times, inner))
        return self.reshape(stretched, (*x.shape[:axis], times, *x.shape[axis:]))

    def depth_to_space(self, x: Tensor, block: tuple[int, int]) -> Tensor:
        """[n, h, w, rows * columns * c] to [n, h * rows, w * columns, c], where `block` is (rows, columns)."""
        (rows, columns), (n, h, w, c) = block, x.shape
        shape = (n, h * rows, w * columns, c // (rows * columns))
        if rows == 1:
            return self.reshape(x, shape)
        if rows == columns:
            return self.op("DEPTH_TO_SPACE", (x,), shape, x.dtype, block_size=rows)
        strips = self.reshape(x, (n * h, w, rows, columns * shape[3]))
        return self.reshape(self.transpose(strips, (0, 2, 1, 3)), shape)

    def space_to_depth(self, x: Tensor, block: tuple[int, int]) -> Tensor:
        """[n, h, w, c] to [n, h / rows, w / columns, rows * columns * c], where `block` is (rows, columns)."""
        (rows, columns), (n, h, w, c) = block, x.shape
        shape = (n, h // rows, w // columns, c * rows * columns)
        if rows == 1:
            return self.reshape(x, shape)
        if rows == columns:
            return self.op("SPACE_TO_DEPTH", (x,), shape, x.dtype, block_size=rows)
        strips = self.reshape(x, (n * shape[1], rows, shape[2], columns * c))
        return self.reshape(self.transpose(strips, (0, 2, 1, 3)), shape)

    # Convolutions, explicit padding ((top, bottom), (left, right))

    def conv_2d(self, x, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1)):
        return self._convolution("CONV_2D", x, kernel, kernel.shape[0], stride, padding, dilation)

    def depthwise_conv_2d(self, x, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1)):
        channels = kernel.shape[3]
        multiplier = {"depth_multiplier": channels // x.shape[3]}
        return self._convolution("DEPTHWISE_CONV_2D", x, kernel, channels, stride, padding, dilation, **multiplier)

    def _convolution(self, kind, x, kernel, channels, stride, padding, dilation, **attributes):
        size = [
            (x.shape[1 + i] + sum(padding[i]) - (kernel.shape[1 + i] - 1) * dilation[i] - 1) // stride[i] + 1
            for i in range(2)
        ]
        attributes.update(stride_h=stride[0], stride_w=stride[1], padding=padding)
        attributes.update(dilation_h_factor=dilation[0], dilation_w_factor=dilation[1])
        shape = (x.shape[0], *size, channels)
        return self.op(kind, (x, kernel, None), shape, x.dtype, fused_activation_function="NONE", **attributes)


def constant(value, dtype: str = "float32", name: str = "constant") -> Tensor:
    """A constant tensor; numbers become shape [1], which every runtime broadcasts."""
    data = np.atleast_1d(np.asarray(value, dtype))
    return Tensor(name, data.shape, dtype, data)


def integers(values) -> Tensor:
    """An int32 constant: axes, shapes, permutations, paddings."""
    data = np.asarray(values, np.int32)
    return Tensor("integers", data.shape, "int32", data)
