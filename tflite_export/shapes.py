"""The shapes that operators write, told from their operands, and the operands that no kernel takes.

One plain function per family, written from the `Prepare` functions of LiteRT's kernels. Its parameters are the
operator and its operands, optional ones with a default; it returns the shape of every output.
"""

from __future__ import annotations

import functools
import inspect
import math

import numpy as np

from tflite_export.geometry import explicit_padding, output_size
from tflite_export.graph import Op, Tensor

Shape = tuple[int, ...]

LARGEST = 2**31 - 1  # what an int32 counts: bytes of a tensor, strides, sizes
_MOST_AXES = 8
_QUANTIZED = ("int8", "uint8", "int16")


class UnknownShape(ValueError):
    """The shape depends on a value that only a run knows."""


def infer_shapes(op: Op) -> tuple[Shape, ...]:
    """The shapes of `op`'s outputs.

    Raises:
        UnknownShape: an operand that decides a shape, such as RESHAPE's, is no constant.
        ValueError: no rule for the operator, or operands that it cannot take: their number, rank, shape, dtype, a
            stride of 0, an axis outside, an empty tensor. The message has the operator, what it got and what it
            expects.
    """
    if op.kind not in _RULES:
        raise ValueError(f"{_name(op)}: there is no rule for the shapes of {op.kind}")
    _check_operands(op)
    shapes = tuple(tuple(int(n) for n in shape) for shape in _RULES[op.kind](op, *op.inputs))
    _expect(op, len(shapes) == len(op.outputs), f"{len(op.outputs)} outputs", f"{len(shapes)}")
    for shape, output in zip(shapes, op.outputs):
        _expect(op, all(n > 0 for n in shape), f"an output of shape {list(shape)}", "sizes above 0")
        _expect(op, len(shape) <= _MOST_AXES, f"an output of {len(shape)} axes", f"at most {_MOST_AXES}")
        size = math.prod(shape) * np.dtype(output.dtype).itemsize
        _expect(op, size <= LARGEST, f"an output of {size} bytes", f"at most {LARGEST}")
    return shapes


def has_rule(kind: str) -> bool:
    """Whether `infer_shapes` knows operators of `kind`."""
    return kind in _RULES


# What rules say


def _name(op: Op) -> str:
    return f"{op.kind} {op.origin or (op.outputs[0].name if op.outputs else '')!r}"


def _expect(op: Op, holds: bool, got: str, expected: str) -> None:
    if not holds:
        raise ValueError(f"{_name(op)}: got {got}, expects {expected}")


def _check_operands(op: Op) -> None:
    """The number of operands, none of them empty: only an int32 list (a scalar's shape, no axes) may be."""
    required, most = _counts(_RULES[op.kind])
    expected = f"{required} to {most}" if required < most else f"{required}"
    _expect(op, required <= len(op.inputs) <= most, f"{len(op.inputs)} operands", expected)
    _expect(op, None not in op.inputs[:required], "an absent operand", "it")
    for tensor in op.inputs:
        if tensor is not None:
            list_of_none = tensor.shape == (0,) and tensor.dtype in ("int32", "int64")
            _expect(op, all(n > 0 for n in tensor.shape) or list_of_none, f"the empty tensor {tensor}", "sizes above 0")
            _expect(op, len(tensor.shape) <= _MOST_AXES, f"{tensor}", f"at most {_MOST_AXES} axes")


@functools.cache
def _counts(rule) -> tuple[int, float]:
    """How many operands a rule takes at least and at most."""
    parameters = list(inspect.signature(rule).parameters.values())[1:]
    required = sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)
    return required, math.inf if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(parameters)


def _expect_rank(op: Op, tensor: Tensor, *ranks: int) -> None:
    _expect(op, len(tensor.shape) in ranks, f"{tensor}", f"rank {' or '.join(map(str, ranks))}")


def _expect_dtype(op: Op, tensor: Tensor, *dtypes: str) -> None:
    _expect(op, tensor.dtype in dtypes, f"{tensor}", " or ".join(dtypes))


def _expect_same_dtype(op: Op, *tensors: Tensor) -> None:
    """Of these and of the outputs."""
    tensors = (*tensors, *op.outputs)
    got = ", ".join(map(repr, tensors))
    _expect(op, len({tensor.dtype for tensor in tensors}) == 1, got, "operands and outputs of one dtype")


def _integers(op: Op, tensor: Tensor, length: int | None = None) -> list[int]:
    """The values of a constant int32 or int64 operand."""
    _expect_dtype(op, tensor, "int32", "int64")
    _expect(op, length is None or tensor.size == length, f"{tensor}", f"{length} values")
    if not tensor.is_constant:
        raise UnknownShape(f"{_name(op)}: its shape depends on {tensor.name!r}, which is no constant")
    return [int(value) for value in np.ravel(tensor.data)]


def _axis(op: Op, axis: int, rank: int) -> int:
    _expect(op, -rank <= axis < rank, f"axis {axis}", f"one of {rank} axes")
    return axis % rank


def _positive(op: Op, *names: str) -> tuple[int, ...]:
    values = tuple(int(op.attributes.get(name, 1)) for name in names)
    for name, value in zip(names, values):
        _expect(op, 0 < value < 2**15, f"{name} {value}", "1 to 32767")  # kernels keep them in 16 bits
    return values


# Convolutions, pools and matrices


def _windows(op: Op, size: Shape, kernel: Shape) -> Shape:
    """Height and width that a window of `kernel` leaves of an image of `size`."""
    stride = _positive(op, "stride_h", "stride_w")
    dilation = _positive(op, "dilation_h_factor", "dilation_w_factor")
    padding = op.attributes.get("padding", "VALID")
    if not isinstance(padding, str):
        negative = any(amount < 0 for pair in padding for amount in pair)
        _expect(op, not negative, f"padding {padding}", "no negative one")
    pad = explicit_padding(padding, size, kernel, stride, dilation)
    out = tuple(map(output_size, size, pad, kernel, stride, dilation))
    _expect(op, min(out) > 0, f"windows of {list(kernel)} on an image of {list(size)}", "one that fits")
    return out


def _check_kernel(op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None, outputs: int) -> None:
    """dtypes that go together, and a bias per output channel."""
    _expect_dtype(op, x, "float32", *_QUANTIZED)
    _expect_same_dtype(op, x)
    # int4 lies in an int8 tensor; float32 activations with an int8 kernel are LiteRT's hybrid kernels
    kernels = {"float32": ("float32", "int8", "uint8", "int4"), "uint8": ("uint8",)}
    _expect_dtype(op, kernel, *kernels.get(x.dtype, ("int8", "int4")))
    if bias is not None:
        biases = {"float32": ("float32",), "int16": ("int32", "int64")}
        _expect_dtype(op, bias, *biases.get(x.dtype, ("int32",)))
        _expect(op, bias.shape == (outputs,), f"the bias {bias}", f"one value for each of {outputs} outputs")


def _conv_2d(op, x, kernel, bias=None):
    _expect_rank(op, x, 4)
    _expect_rank(op, kernel, 4)
    channels, out = x.shape[3], kernel.shape[0]
    groups = channels // kernel.shape[3]
    fits = channels % kernel.shape[3] == 0 and out % groups == 0
    _expect(op, fits, f"{kernel} on {x}", "channels in equal groups")
    _check_kernel(op, x, kernel, bias, out)
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel.shape[1:3]), out)]


def _depthwise_conv_2d(op, x, kernel, bias=None):
    _expect_rank(op, x, 4)
    _expect_rank(op, kernel, 4)
    out = kernel.shape[3]
    multiplier = op.attributes.get("depth_multiplier", 0)
    fits = kernel.shape[0] == 1 and out % x.shape[3] == 0
    _expect(op, fits, f"{kernel} on {x}", "[1, height, width, a multiple of the channels]")
    _expect(op, multiplier in (0, out // x.shape[3]), f"depth_multiplier {multiplier}", f"{out // x.shape[3]}")
    _check_kernel(op, x, kernel, bias, out)
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel.shape[1:3]), out)]


def _transpose_conv(op, output_shape, kernel, x, bias=None):
    _expect_rank(op, x, 4)
    _expect_rank(op, kernel, 4)
    _expect(op, kernel.shape[3] == x.shape[3], f"{kernel} on {x}", "as many input channels")
    _check_kernel(op, x, kernel, bias, kernel.shape[0])
    shape = _integers(op, output_shape, 4)
    expected = f"[{x.shape[0]}, height, width, {kernel.shape[0]}]"
    _expect(op, min(shape) > 0 and (shape[0], shape[3]) == (x.shape[0], kernel.shape[0]), f"output {shape}", expected)
    back = _windows(op, tuple(shape[1:3]), kernel.shape[1:3])
    _expect(op, back == x.shape[1:3], f"output {shape} of {x}", "one whose windows are the input's pixels")
    return [shape]


def _fully_connected(op, x, kernel, bias=None):
    _expect_rank(op, kernel, 2)
    out, inputs = kernel.shape
    weights_format = op.attributes.get("weights_format", 0)
    _expect(op, weights_format == 0, f"weights_format {weights_format}", "the default")
    _check_kernel(op, x, kernel, bias, out)
    if op.attributes.get("keep_num_dims", False):
        _expect(op, x.shape[-1:] == (inputs,), f"{x}", f"a last axis of {inputs}")
        return [(*x.shape[:-1], out)]
    _expect(op, x.size % inputs == 0, f"{x}", f"rows of {inputs}")
    return [(x.size // inputs, out)]


def _batch_matmul(op, x, y):
    for tensor in (x, y):
        _expect_rank(op, tensor, 2, 3, 4, 5)
    _expect_dtype(op, x, "float32", "int8", "int16", "int32")
    _expect_same_dtype(op, x)
    _expect(op, y.dtype == x.dtype or (x.dtype, y.dtype) == ("float32", "int8"), f"{x} and {y}", "one dtype")
    rows, depth = x.shape[-2:][:: -1 if op.attributes.get("adj_x", False) else 1]
    other, columns = y.shape[-2:][:: -1 if op.attributes.get("adj_y", False) else 1]
    _expect(op, depth == other, f"{x} and {y}", "matrices that can be multiplied")
    return [(*_broadcast(op, x.shape[:-2], y.shape[:-2]), rows, columns)]


def _pool(op, x):
    _expect_rank(op, x, 4)
    _expect_dtype(op, x, "float32", *_QUANTIZED)
    _expect_same_dtype(op, x)
    kernel = _positive(op, "filter_height", "filter_width")
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel), x.shape[3])]


def _resize(op, x, size):
    _expect_rank(op, x, 4)
    _expect_same_dtype(op, x)
    _expect_dtype(op, size, "int32")
    _expect_rank(op, size, 1)
    both = op.attributes.get("align_corners", False) and op.attributes.get("half_pixel_centers", False)
    _expect(op, not both, "align_corners and half_pixel_centers", "one of them")
    return [(x.shape[0], *_integers(op, size, 2), x.shape[3])]


# Elementwise


def _broadcast(op: Op, *shapes: Shape) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{_name(op)}: got shapes {list(map(list, shapes))}, expects ones that broadcast") from None


# Axes up to which a kernel can broadcast; operands of one shape may have more.
_BROADCAST_AXES = {"ADD": 6, "MUL": 6, "SUB": 5, "DIV": 5, "SELECT_V2": 5, "MAXIMUM": 5, "MINIMUM": 5}


def _elementwise_shape(op: Op, *tensors: Tensor) -> Shape:
    shape = _broadcast(op, *(tensor.shape for tensor in tensors))
    most = _BROADCAST_AXES.get(op.kind, 4)
    fits = len(shape) <= most or all(tensor.shape == shape for tensor in tensors)
    _expect(op, fits, ", ".join(map(repr, tensors)), f"at most {most} axes to broadcast")
    return shape


def _unary(op, x):
    _expect_same_dtype(op, x)
    return [x.shape]


def _float_unary(op, x):
    _expect_dtype(op, x, "float32", *_QUANTIZED)
    return _unary(op, x)


def _softmax(op, x):
    _expect(op, len(x.shape) >= 1, f"{x}", "at least one axis")
    _expect_dtype(op, x, "float32", *_QUANTIZED)
    _expect(op, op.outputs[0].dtype in (x.dtype, "int16"), f"{x} to {op.outputs[0]}", "one dtype")
    return [x.shape]


def _logical_not(op, x):
    _expect_dtype(op, x, "bool")
    return _unary(op, x)


def _cast(op, x):
    for tensor in (x, *op.outputs):
        _expect_dtype(op, tensor, *_NUMBERS, "bool")
    return [x.shape]


def _arithmetic(op, x, y):
    _expect_dtype(op, x, *_NUMBERS)
    _expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, x, y)]


def _prelu(op, x, slope):
    shape = _arithmetic(op, x, slope)
    _expect(op, shape == [x.shape], f"slopes {slope} for {x}", "slopes that broadcast to the operand")
    return shape


def _compare(op, x, y):
    _expect(op, x.dtype == y.dtype, f"{x} and {y}", "one dtype")
    _expect(op, x.dtype != "bool" or op.kind in ("EQUAL", "NOT_EQUAL"), f"{x}", "numbers")
    _expect_dtype(op, op.outputs[0], "bool")
    return [_elementwise_shape(op, x, y)]


def _logical(op, x, y):
    _expect_dtype(op, x, "bool")
    _expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, x, y)]


def _add_n(op, *xs):
    _expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    _expect_dtype(op, xs[0], "float32", "int32")
    _expect_same_dtype(op, *xs)
    _expect(op, all(x.shape == xs[0].shape for x in xs), ", ".join(map(repr, xs)), "operands of one shape")
    return [xs[0].shape]


def _select(op, condition, x, y):
    """SELECT: the condition has the operands' shape, is one number, or chooses rows."""
    _expect_dtype(op, condition, "bool")
    _expect_same_dtype(op, x, y)
    fits = x.shape == y.shape and condition.shape in ((), (1,), x.shape, x.shape[:1])
    _expect(op, fits, f"{condition}, {x}, {y}", "operands of one shape and a condition for each value or row")
    return [x.shape]


def _select_v2(op, condition, x, y):
    _expect_dtype(op, condition, "bool")
    _expect_same_dtype(op, x, y)
    return [_elementwise_shape(op, condition, x, y)]


def _quantize(op, x):
    _expect_dtype(op, x, "float32", *_QUANTIZED, "int32")
    _expect_dtype(op, op.outputs[0], *_QUANTIZED, "int32")
    return [x.shape]


def _dequantize(op, x):
    _expect_dtype(op, x, *_QUANTIZED, "int4", "float16")
    _expect_dtype(op, op.outputs[0], "float32")
    return [x.shape]


# Reductions


def _reduce(op, x, axes):
    _expect_same_dtype(op, x)
    _expect_dtype(op, x, *(("bool",) if op.kind in ("REDUCE_ANY", "REDUCE_ALL") else _NUMBERS))
    _expect_dtype(op, axes, "int32")
    _expect_rank(op, axes, 0, 1)
    reduced = {_axis(op, axis, len(x.shape)) for axis in _integers(op, axes)}
    if op.attributes.get("keep_dims", False):
        return [tuple(1 if i in reduced else n for i, n in enumerate(x.shape))]
    return [tuple(n for i, n in enumerate(x.shape) if i not in reduced)]


def _argument(op, x, axis):
    _expect_dtype(op, op.outputs[0], "int32", "int64")
    position = _axis(op, _integers(op, axis, 1)[0], len(x.shape))
    return [x.shape[:position] + x.shape[position + 1 :]]


# Shapes


def _reshape(op, x, shape=None):
    _expect_same_dtype(op, x)
    if shape is None:
        new = [int(n) for n in op.attributes.get("new_shape", ())]
    else:
        _expect_rank(op, shape, 1)
        _expect_dtype(op, shape, "int32")
        new = _integers(op, shape)
    known = math.prod(n for n in new if n != -1)
    legal = new.count(-1) <= 1 and all(n > 0 or n == -1 for n in new)
    fits = legal and (x.size % known == 0 if -1 in new else x.size == known)
    _expect(op, fits, f"shape {new} for {x}", f"{x.size} values, at most one axis -1")
    return [tuple(x.size // known if n == -1 else n for n in new)]


def _squeeze(op, x):
    _expect_same_dtype(op, x)
    named = {_axis(op, axis, len(x.shape)) for axis in op.attributes.get("squeeze_dims", ())}
    axes = named or {i for i, n in enumerate(x.shape) if n == 1}
    _expect(op, all(x.shape[i] == 1 for i in axes), f"axes {sorted(axes)} of {x}", "axes of size 1")
    return [tuple(n for i, n in enumerate(x.shape) if i not in axes)]


def _expand_dims(op, x, axis):
    _expect_same_dtype(op, x)
    position = _axis(op, _integers(op, axis, 1)[0], len(x.shape) + 1)
    return [(*x.shape[:position], 1, *x.shape[position:])]


def _transpose(op, x, permutation):
    _expect_same_dtype(op, x)
    _expect(op, len(x.shape) <= 6, f"{x}", "at most 6 axes")
    _expect_dtype(op, permutation, "int32")
    order = [_axis(op, axis, len(x.shape)) for axis in _integers(op, permutation, len(x.shape))]
    _expect(op, len({*order}) == len(order), f"permutation {order}", "every axis once")
    return [tuple(x.shape[axis] for axis in order)]


def _amounts(op: Op, x: Tensor, paddings: Tensor) -> list[tuple[int, int]]:
    _expect(op, paddings.shape == (len(x.shape), 2), f"{paddings} for {x}", f"shape [{len(x.shape)}, 2]")
    values = _integers(op, paddings)
    pairs = list(zip(values[::2], values[1::2]))
    _expect(op, all(0 <= amount <= LARGEST for amount in values), f"paddings {pairs}", "no negative one")
    return pairs


def _pad(op, x, paddings, value=None):
    _expect_same_dtype(op, x)
    _expect(op, len(x.shape) <= 5, f"{x}", "at most 5 axes")
    _expect(op, value is None or (value.dtype, value.size) == (x.dtype, 1), f"the value {value}", f"one {x.dtype}")
    return [tuple(n + sum(pair) for n, pair in zip(x.shape, _amounts(op, x, paddings)))]


def _mirror_pad(op, x, paddings):
    _expect_same_dtype(op, x)
    pairs = _amounts(op, x, paddings)
    excess = 1 if op.attributes.get("mode", "REFLECT") == "REFLECT" else 0
    fits = all(max(pair) <= n - excess for n, pair in zip(x.shape, pairs))
    _expect(op, fits, f"paddings {pairs} for {x}", "no more than there is to mirror")
    return [tuple(n + sum(pair) for n, pair in zip(x.shape, pairs))]


def _slice(op, x, begin, size):
    _expect_same_dtype(op, x)
    _expect(op, len(x.shape) <= 5, f"{x}", "at most 5 axes")
    begins, sizes = (_integers(op, operand, len(x.shape)) for operand in (begin, size))
    shape = [n - b if s == -1 else s for n, b, s in zip(x.shape, begins, sizes)]
    fits = all(b >= 0 and s > 0 and b + s <= n for n, b, s in zip(x.shape, begins, shape))
    _expect(op, fits, f"begin {begins} and size {sizes} for {x}", "a part of it")
    return [shape]


def _strided_slice(op, x, begin, end, strides):
    """Masks have one bit per entry of `begin`: whole side, ellipsis, new axis, or an index that drops its axis."""
    _expect_same_dtype(op, x)
    entries = [_integers(op, operand, begin.size) for operand in (begin, end, strides)]
    _expect(op, all(t.dtype == "int32" and len(t.shape) == 1 for t in (begin, end, strides)), "indices", "int32 lists")

    def bit(mask, i):
        return int(op.attributes.get(mask, 0)) >> i & 1

    count = begin.size
    ellipses = [i for i in range(count) if bit("ellipsis_mask", i)]
    consumed = sum(not bit("new_axis_mask", i) for i in range(count)) - len(ellipses)
    _expect(op, len(ellipses) <= 1 and consumed <= len(x.shape), f"{count} indices for {x}", "one per axis at most")
    shape, axis = [], 0
    for i, (first, last, step) in enumerate(zip(*entries)):
        if bit("ellipsis_mask", i):
            whole = len(x.shape) - consumed
            shape += x.shape[axis : axis + whole]
            axis += whole
        elif bit("new_axis_mask", i):
            shape.append(1)
        else:
            _expect(op, step != 0, "stride 0", "another")
            n = x.shape[axis]
            axis += 1
            if bit("shrink_axis_mask", i):
                _expect(op, -n <= first < n and step > 0, f"index {first} with stride {step}", f"one of {n}, stride 1")
                continue
            last = first + last if op.attributes.get("offset", False) else last
            ends = (None if bit("begin_mask", i) else first, None if bit("end_mask", i) else last)
            shape.append(len(range(*slice(*ends, step).indices(n))))
    return [(*shape, *x.shape[axis:])]


def _concatenation(op, *xs):
    _expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    _expect_same_dtype(op, *xs)
    axis = _axis(op, op.attributes.get("axis", 0), len(xs[0].shape))
    others = {x.shape[:axis] + x.shape[axis + 1 :] for x in xs}
    fits = len(others) == 1 and all(len(x.shape) == len(xs[0].shape) for x in xs)
    _expect(op, fits, ", ".join(map(repr, xs)), f"shapes that differ along axis {axis} only")
    return [(*xs[0].shape[:axis], sum(x.shape[axis] for x in xs), *xs[0].shape[axis + 1 :])]


def _split(op, axis, x):
    _expect_same_dtype(op, x)
    position = _axis(op, _integers(op, axis, 1)[0], len(x.shape))
    parts, n = int(op.attributes.get("num_splits", 0)), x.shape[position]
    _expect(op, parts == len(op.outputs) > 0 and n % parts == 0, f"{parts} parts of {x}", "equal parts, one per output")
    return [(*x.shape[:position], n // parts, *x.shape[position + 1 :])] * parts


def _split_v(op, x, sizes, axis):
    _expect_same_dtype(op, x)
    position = _axis(op, _integers(op, axis, 1)[0], len(x.shape))
    parts, n = _integers(op, sizes, len(op.outputs)), x.shape[position]
    known = sum(size for size in parts if size != -1)
    legal = parts.count(-1) <= 1 and all(size > 0 or size == -1 for size in parts)
    fits = legal and (known < n if -1 in parts else known == n)
    _expect(op, fits, f"sizes {parts} of {x}", f"{n} in all")
    return [(*x.shape[:position], n - known if size == -1 else size, *x.shape[position + 1 :]) for size in parts]


def _pack(op, *xs):
    _expect(op, len(xs) >= 1 and None not in xs, f"{len(xs)} operands", "at least one")
    _expect_same_dtype(op, *xs)
    count = op.attributes.get("values_count", len(xs))
    _expect(op, count == len(xs), f"{len(xs)} operands", f"values_count, {count}")
    _expect(op, all(x.shape == xs[0].shape for x in xs), ", ".join(map(repr, xs)), "operands of one shape")
    axis = _axis(op, op.attributes.get("axis", 0), len(xs[0].shape) + 1)
    return [(*xs[0].shape[:axis], len(xs), *xs[0].shape[axis:])]


def _unpack(op, x):
    _expect_same_dtype(op, x)
    axis = _axis(op, op.attributes.get("axis", 0), len(x.shape))
    count = op.attributes.get("num", len(op.outputs))
    _expect(op, count == len(op.outputs) == x.shape[axis], f"{count} parts of {x}", f"{x.shape[axis]}")
    return [x.shape[:axis] + x.shape[axis + 1 :]] * len(op.outputs)


def _gather(op, x, indices):
    _expect_same_dtype(op, x)
    _expect_dtype(op, indices, "int32", "int64", "int16")
    axis = _axis(op, op.attributes.get("axis", 0), len(x.shape))
    batch = op.attributes.get("batch_dims", 0)
    batch += len(indices.shape) if batch < 0 else 0
    fits = 0 <= batch <= min(axis, len(indices.shape)) and x.shape[:batch] == indices.shape[:batch]
    _expect(op, fits, f"batch_dims {batch} for {x} and {indices}", "axes that both begin with")
    inside = not indices.is_constant or (np.min(indices.data) >= 0 and np.max(indices.data) < x.shape[axis])
    _expect(op, inside, f"indices {indices}", f"0 to {x.shape[axis] - 1}")
    return [(*x.shape[:axis], *indices.shape[batch:], *x.shape[axis + 1 :])]


def _tile(op, x, multiples):
    _expect_same_dtype(op, x)
    times = _integers(op, multiples, len(x.shape))
    _expect(op, all(n > 0 for n in times), f"multiples {times}", "positive ones")
    return [tuple(n * count for n, count in zip(x.shape, times))]


def _broadcast_to(op, x, shape):
    _expect_same_dtype(op, x)
    _expect_rank(op, shape, 1)
    target = tuple(_integers(op, shape))
    legal = all(n > 0 for n in target) and _broadcast(op, x.shape, target) == target
    _expect(op, legal, f"{x} to {list(target)}", "a shape it broadcasts to")
    return [target]


def _fill(op, shape, value):
    _expect_same_dtype(op, value)
    _expect_rank(op, shape, 1)
    _expect_rank(op, value, 0)
    return [_integers(op, shape)]


def _range(op, start, limit, delta):
    _expect_same_dtype(op, start, limit, delta)
    _expect(op, all(t.shape == () for t in (start, limit, delta)), f"{start}, {limit}, {delta}", "scalars")
    if not all(t.is_constant for t in (start, limit, delta)):
        raise UnknownShape(f"{_name(op)}: its length depends on operands that are no constants")
    first, last, step = (float(t.data) for t in (start, limit, delta))
    finite = all(map(math.isfinite, (first, last, step)))
    _expect(op, finite and step != 0 and (last - first) / step > 0, f"{first} to {last} by {step}", "a few steps")
    return [(min(math.ceil((last - first) / step), LARGEST + 1),)]


def _shape_of(op, x):
    _expect_dtype(op, op.outputs[0], "int32", "int64")
    return [(len(x.shape),)]


def _reverse(op, x, axes):
    _expect_same_dtype(op, x)
    _expect_dtype(op, axes, "int32")
    _expect_rank(op, axes, 1)
    positions = [_axis(op, axis, len(x.shape)) for axis in _integers(op, axes)]
    _expect(op, len({*positions}) == len(positions), f"axes {positions}", "each once")
    return [x.shape]


def _one_hot(op, indices, depth, on, off):
    _expect_dtype(op, indices, "int32", "int64")
    _expect_same_dtype(op, on, off)
    _expect(op, on.size == off.size == 1, f"{on} and {off}", "one value each")
    (count,) = _integers(op, depth, 1)
    axis = _axis(op, op.attributes.get("axis", -1), len(indices.shape) + 1)
    return [(*indices.shape[:axis], count, *indices.shape[axis:])]


def _depth_to_space(op, x):
    _expect_rank(op, x, 4)
    _expect_same_dtype(op, x)
    (block,) = _positive(op, "block_size")
    n, h, w, c = x.shape
    _expect(op, c % block**2 == 0, f"{x}", f"a multiple of {block**2} channels")
    return [(n, h * block, w * block, c // block**2)]


def _space_to_depth(op, x):
    _expect_rank(op, x, 4)
    _expect_same_dtype(op, x)
    (block,) = _positive(op, "block_size")
    n, h, w, c = x.shape
    _expect(op, h % block == w % block == 0, f"{x}", f"height and width in blocks of {block}")
    return [(n, h // block, w // block, c * block**2)]


def _blocks(op: Op, x: Tensor, block: Tensor, amounts: Tensor) -> tuple[list[int], list[tuple[int, int]]]:
    """Block sizes, and what is padded or cropped around the axes between the first and the last."""
    _expect_same_dtype(op, x)
    _expect_rank(op, x, 3, 4)
    axes = len(x.shape) - 2
    _expect(op, block.shape == (axes,) and amounts.shape == (axes, 2), f"{block}, {amounts}", f"{axes} axes")
    sizes, values = _integers(op, block), _integers(op, amounts)
    _expect(op, min(sizes) > 0 and min(values) >= 0, f"blocks {sizes}, paddings {values}", "no negative ones")
    return sizes, list(zip(values[::2], values[1::2]))


def _space_to_batch_nd(op, x, block, paddings):
    sizes, pairs = _blocks(op, x, block, paddings)
    padded = [n + sum(pair) for n, pair in zip(x.shape[1:], pairs)]
    _expect(op, all(n % size == 0 for n, size in zip(padded, sizes)), f"{padded} in blocks of {sizes}", "whole blocks")
    return [(x.shape[0] * math.prod(sizes), *(n // size for n, size in zip(padded, sizes)), x.shape[-1])]


def _batch_to_space_nd(op, x, block, crops):
    sizes, pairs = _blocks(op, x, block, crops)
    _expect(op, x.shape[0] % math.prod(sizes) == 0, f"{x} in blocks of {sizes}", "whole blocks")
    spread = [n * size - sum(pair) for n, size, pair in zip(x.shape[1:], sizes, pairs)]
    return [(x.shape[0] // math.prod(sizes), *spread, x.shape[-1])]


# State and branches


def _read_variable(op):
    variable = op.attributes["variable"]
    _expect_dtype(op, op.outputs[0], variable.dtype)
    return [variable.shape]


def _assign_variable(op, value):
    variable = op.attributes["variable"]
    fits = (value.shape, value.dtype) == (variable.shape, variable.dtype)
    _expect(op, fits, f"{value} for {variable.name!r}", f"{variable.dtype}{list(variable.shape)}")
    return []


def _if(op, condition, *operands):
    _expect_dtype(op, condition, "bool")
    _expect(op, condition.size == 1 and None not in operands, f"{condition}, {operands}", "one value, and operands")
    for role in ("then_graph", "else_graph"):
        graph = op.attributes[role]
        takes = [(t.shape, t.dtype) for t in graph.inputs.values()]
        gives = [(t.shape, t.dtype) for t in graph.outputs.values()]
        _expect(op, takes == [(t.shape, t.dtype) for t in operands], f"{role} of {takes}", "the operands")
        _expect(op, gives == [(t.shape, t.dtype) for t in op.outputs], f"{role} giving {gives}", "the outputs")
    return [tensor.shape for tensor in op.outputs]


_NUMBERS = ("float32", "float16", "float64", *_QUANTIZED, "uint16", "int32", "uint32", "int64", "uint64")
_RULES = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _pool),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
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
    "RESHAPE": _reshape,
    "SQUEEZE": _squeeze,
    "EXPAND_DIMS": _expand_dims,
    "TRANSPOSE": _transpose,
    "PAD": lambda op, x, paddings: _pad(op, x, paddings),
    "PADV2": lambda op, x, paddings, value: _pad(op, x, paddings, value),
    "MIRROR_PAD": _mirror_pad,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "PACK": _pack,
    "UNPACK": _unpack,
    "GATHER": _gather,
    "TILE": _tile,
    "BROADCAST_TO": _broadcast_to,
    "FILL": _fill,
    "RANGE": _range,
    "SHAPE": _shape_of,
    "REVERSE_V2": _reverse,
    "ONE_HOT": _one_hot,
    "DEPTH_TO_SPACE": _depth_to_space,
    "SPACE_TO_DEPTH": _space_to_depth,
    "SPACE_TO_BATCH_ND": _space_to_batch_nd,
    "BATCH_TO_SPACE_ND": _batch_to_space_nd,
    "READ_VARIABLE": _read_variable,
    "ASSIGN_VARIABLE": _assign_variable,
    "IF": _if,
}
