"""Convolutions, pools, resizing and matrix products."""

from __future__ import annotations

from tflite_export.geometry import explicit_padding, output_size
from tflite_export.graph import Op, Tensor
from tflite_export.shapes.operands import (
    QUANTIZED,
    Shape,
    broadcast,
    expect,
    expect_dtype,
    expect_rank,
    expect_same_dtype,
    integers,
    positive,
)


def _windows(op: Op, size: Shape, kernel: Shape) -> Shape:
    """Height and width that a window of `kernel` leaves of an image of `size`."""
    stride = positive(op, "stride_h", "stride_w")
    dilation = positive(op, "dilation_h_factor", "dilation_w_factor")
    padding = op.attributes.get("padding", "VALID")
    if not isinstance(padding, str):
        negative = any(amount < 0 for pair in padding for amount in pair)
        expect(op, not negative, f"padding {padding}", "no negative one")
    pad = explicit_padding(padding, size, kernel, stride, dilation)
    out = tuple(map(output_size, size, pad, kernel, stride, dilation))
    expect(op, min(out) > 0, f"windows of {list(kernel)} on an image of {list(size)}", "one that fits")
    return out


def _check_kernel(op: Op, x: Tensor, kernel: Tensor, bias: Tensor | None, outputs: int) -> None:
    """dtypes that go together, and a bias per output channel."""
    expect_dtype(op, x, "float32", *QUANTIZED)
    expect_same_dtype(op, x)
    # int4 lies in an int8 tensor; float32 activations with an int8 kernel are LiteRT's hybrid kernels
    kernels = {"float32": ("float32", "int8", "uint8", "int4"), "uint8": ("uint8",)}
    expect_dtype(op, kernel, *kernels.get(x.dtype, ("int8", "int4")))
    if bias is not None:
        biases = {"float32": ("float32",), "int16": ("int32", "int64")}
        expect_dtype(op, bias, *biases.get(x.dtype, ("int32",)))
        expect(op, bias.shape == (outputs,), f"the bias {bias}", f"one value for each of {outputs} outputs")


def _conv_2d(op, x, kernel, bias=None):
    expect_rank(op, x, 4)
    expect_rank(op, kernel, 4)
    channels, out = x.shape[3], kernel.shape[0]
    groups = channels // kernel.shape[3]
    fits = channels % kernel.shape[3] == 0 and out % groups == 0
    expect(op, fits, f"{kernel} on {x}", "channels in equal groups")
    _check_kernel(op, x, kernel, bias, out)
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel.shape[1:3]), out)]


def _depthwise_conv_2d(op, x, kernel, bias=None):
    expect_rank(op, x, 4)
    expect_rank(op, kernel, 4)
    out = kernel.shape[3]
    multiplier = op.attributes.get("depth_multiplier", 0)
    fits = kernel.shape[0] == 1 and out % x.shape[3] == 0
    expect(op, fits, f"{kernel} on {x}", "[1, height, width, a multiple of the channels]")
    expect(op, multiplier in (0, out // x.shape[3]), f"depth_multiplier {multiplier}", f"{out // x.shape[3]}")
    _check_kernel(op, x, kernel, bias, out)
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel.shape[1:3]), out)]


def _transpose_conv(op, output_shape, kernel, x, bias=None):
    expect_rank(op, x, 4)
    expect_rank(op, kernel, 4)
    expect(op, kernel.shape[3] == x.shape[3], f"{kernel} on {x}", "as many input channels")
    _check_kernel(op, x, kernel, bias, kernel.shape[0])
    shape = integers(op, output_shape, 4)
    expected = f"[{x.shape[0]}, height, width, {kernel.shape[0]}]"
    expect(op, min(shape) > 0 and (shape[0], shape[3]) == (x.shape[0], kernel.shape[0]), f"output {shape}", expected)
    back = _windows(op, tuple(shape[1:3]), kernel.shape[1:3])
    expect(op, back == x.shape[1:3], f"output {shape} of {x}", "one whose windows are the input's pixels")
    return [shape]


def _fully_connected(op, x, kernel, bias=None):
    expect_rank(op, kernel, 2)
    out, inputs = kernel.shape
    weights_format = op.attributes.get("weights_format", 0)
    expect(op, weights_format == 0, f"weights_format {weights_format}", "the default")
    _check_kernel(op, x, kernel, bias, out)
    if op.attributes.get("keep_num_dims", False):
        expect(op, x.shape[-1:] == (inputs,), f"{x}", f"a last axis of {inputs}")
        return [(*x.shape[:-1], out)]
    expect(op, x.size % inputs == 0, f"{x}", f"rows of {inputs}")
    return [(x.size // inputs, out)]


def _batch_matmul(op, x, y):
    for tensor in (x, y):
        expect_rank(op, tensor, 2, 3, 4, 5)
    expect_dtype(op, x, "float32", "int8", "int16", "int32")
    expect_same_dtype(op, x)
    expect(op, y.dtype == x.dtype or (x.dtype, y.dtype) == ("float32", "int8"), f"{x} and {y}", "one dtype")
    rows, depth = x.shape[-2:][:: -1 if op.attributes.get("adj_x", False) else 1]
    other, columns = y.shape[-2:][:: -1 if op.attributes.get("adj_y", False) else 1]
    expect(op, depth == other, f"{x} and {y}", "matrices that can be multiplied")
    return [(*broadcast(op, x.shape[:-2], y.shape[:-2]), rows, columns)]


def _pool(op, x):
    expect_rank(op, x, 4)
    expect_dtype(op, x, "float32", *QUANTIZED)
    expect_same_dtype(op, x)
    kernel = positive(op, "filter_height", "filter_width")
    return [(x.shape[0], *_windows(op, x.shape[1:3], kernel), x.shape[3])]


def _resize(op, x, size):
    expect_rank(op, x, 4)
    expect_same_dtype(op, x)
    expect_dtype(op, size, "int32")
    expect_rank(op, size, 1)
    both = op.attributes.get("align_corners", False) and op.attributes.get("half_pixel_centers", False)
    expect(op, not both, "align_corners and half_pixel_centers", "one of them")
    return [(x.shape[0], *integers(op, size, 2), x.shape[3])]


RULES = {
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), _pool),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), _resize),
}
