"""int8 kernels for XNNPACK: matrices that are brought back inside of the one partition, and packed by nobody.

XNNPACK packs every constant kernel when it prepares, for every signature by itself. A product of two matrices takes one
that is not constant: RESHAPE of an int8 constant, DEQUANTIZE and MUL with the scales make it, inside of the partition.
Its packing is in the workspace then, and lasts for one operator. DEQUANTIZE has scale 1, for it knows no channels; the
MUL behind it also keeps XNNPACK from rewriting DEQUANTIZE and product by itself (`rewrite_dequant_bmm_at` in
subgraph.c), which takes more memory.

Convolutions with a window need a constant kernel, and small kernels are not worth a product. Theirs are int8 in the
file alone (DEQUANTIZE of a constant): they are few numbers in the networks this is for, and XNNPACK holds two float32
copies of them.
"""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Quantization, Tensor
from tflite_export.passes.int8_kernels import SMALLEST, Int8, int8_kernel
from tflite_export.passes.rewrite import rewrite
from tflite_export.passes.small_constants import as_int8

_UNSCALED = Quantization((1.0,), (0,))
# Elements: what is smaller costs more time to bring back than memory to be packed, as benchmarks/int8.py tells of
# MobileNetV2. ``infer`` packs none, for whoever trains has its kernels too.
_SMALLEST_FORWARD, _SMALLEST_BACKWARD = 60_000, 4096
_SMALLEST_STATIC = 512  # elements: below, a DEQUANTIZE takes more of the file than int8 saves
_CONSTANT = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


def multiply_by_int8(graph: Graph) -> Graph:
    """`graph`, of builtin operators in XNNPACK's form, with int8 constants for kernels."""
    smallest = SMALLEST if graph.name == "infer" else _SMALLEST_FORWARD
    rules = {
        "CONV_2D": lambda b, op: _pointwise(b, op, smallest),
        "FULLY_CONNECTED": lambda b, op: _product(b, op, op.inputs[1], smallest),
        "BATCH_MATMUL": _matrix_product,
    }
    return _int8_in_file(rewrite(graph, rules))


def _pointwise(b: Builder, op: Op, smallest: int) -> Tensor | None:
    x, kernel, _ = op.inputs
    strides = {op.attributes["stride_h"], op.attributes["stride_w"]}
    if kernel.shape[1:] != (1, 1, x.shape[3]) or strides != {1}:
        return None
    return _product(b, op, _as_matrix(kernel), smallest)


def _product(b: Builder, op: Op, matrix: Tensor, smallest: int) -> Tensor | None:
    """x [..., in] times a kernel [out, in], and the bias and activation of `op`."""
    x, _, bias = op.inputs
    kernel = int8_kernel(matrix, smallest)
    if kernel is None:
        return None
    rows = b.reshape(x, (x.size // matrix.shape[1], matrix.shape[1]))
    y = b.reshape(b.batch_matmul(rows, _real(b, kernel), adj_y=True), op.outputs[0].shape)
    activation = op.attributes["fused_activation_function"]
    if bias is not None and (not bias.is_constant or bias.data.any()):
        return b.op("ADD", (y, bias), y.shape, fused_activation_function=activation)
    return y if activation == "NONE" else b.unary(activation, y)


def _matrix_product(b: Builder, op: Op) -> Tensor | None:
    x, matrix = op.inputs
    kernel = int8_kernel(matrix, _SMALLEST_BACKWARD) if len(matrix.shape) == 2 else None
    if kernel is None:
        return None
    return b.batch_matmul(x, _real(b, kernel), **op.attributes)


def _real(b: Builder, kernel: Int8) -> Tensor:
    """The kernel in float32. What DEQUANTIZE reads must not be constant."""
    stored = kernel.values
    line = dataclasses.replace(stored, shape=(stored.size,), data=stored.data.reshape(-1), quantization=_UNSCALED)
    return b.mul(b.dequantize(b.reshape(line, stored.shape)), constant(kernel.scale, name="scale"))


def _as_matrix(kernel: Tensor) -> Tensor:
    if not kernel.is_constant:
        return kernel
    shape = (kernel.shape[0], kernel.shape[3])
    return dataclasses.replace(kernel, shape=shape, data=kernel.data.reshape(shape))


def _int8_in_file(graph: Graph) -> Graph:
    b, real = Builder(), {}
    for op in graph.ops:
        kernel = op.inputs[1] if op.kind in _CONSTANT else None
        if kernel is None or kernel in real or not kernel.is_constant or kernel.size < _SMALLEST_STATIC:
            continue
        stored = as_int8(kernel) if kernel.dtype == "float32" else None
        if stored is not None:
            with b.at(op.origin):
                real[kernel] = b.dequantize(stored)
    ops = (
        dataclasses.replace(op, inputs=tuple(real.get(t, t) for t in op.inputs)) if op.kind in _CONSTANT else op
        for op in graph.ops
    )
    return graph.replace(ops=(*b.ops, *ops))
