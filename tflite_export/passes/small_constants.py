"""Constants of a quantised file stay as small in the file that is written: int8 or float16 behind a DEQUANTIZE.

The compiler works on real numbers; it turns kernels round, cuts them into parts and writes forward and backward forms
of one. So what a constant was stored as is told from its values: every slice along some axis of what came from int8 is
a whole number of steps. What is not, stays float32.

LiteRT dequantises such a constant once, when it prepares, and keeps the result: the file is smaller, the memory of a
run is not. XNNPACK does that before it packs, and loses no operator by it (`static_unpack_nodes_` in
xnnpack_delegate.cc).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor

SMALLEST = 64  # elements; below that the operator takes more of the file than it saves
_SHORTEST = 8  # values of a slice, which takes a scale
_STEPS = 127  # of int8, symmetric
_ROUNDING = 2e-6  # relative, of products and scales in float32
_NOISE = 1e-6  # of the largest value of a slice: what standardizing adds by subtracting a mean that is nearly zero
_BUT_FOR = ("ASSIGN_VARIABLE", "DEQUANTIZE", "QUANTIZE", "IF")


def with_small_constants(program: Program, dtype: str) -> Program:
    """`program` with its constant kernels and matrices in `dtype`, "int8" or "float16", where that holds them exactly.

    "int8" holds a number up to the rounding of its scale in float32.
    """
    store = {"int8": as_int8, "float16": as_float16}[dtype]
    return dataclasses.replace(program, signatures=tuple(_stored(graph, store) for graph in program.signatures))


def _stored(graph: Graph, store) -> Graph:
    """Every operator that reads such a constant reads a DEQUANTIZE in front of all operators instead."""
    b, real = Builder(), {}
    for tensor in dict.fromkeys(t for op in graph.ops if op.kind not in _BUT_FOR for t in op.inputs):
        if tensor is None or not tensor.is_constant or tensor.dtype != "float32" or tensor.size < SMALLEST:
            continue
        small = store(tensor) if len(tensor.shape) > 1 else None
        if small is not None:
            real[tensor] = Tensor(f"{tensor.name}/dequantised", tensor.shape)
            b.copy(Op("DEQUANTIZE", (small,), (real[tensor],), {}, tensor.name))
    ops = (
        op if op.kind in _BUT_FOR else dataclasses.replace(op, inputs=tuple(real.get(t, t) for t in op.inputs))
        for op in graph.ops
    )
    return graph.replace(ops=(*b.ops, *ops))


def as_float16(tensor: Tensor) -> Tensor | None:
    """`tensor` in float16, or None where that would round."""
    with np.errstate(over="ignore"):
        data = tensor.data.astype(np.float16)
    return None if (data != tensor.data).any() else dataclasses.replace(tensor, dtype="float16", data=data)


def as_int8(tensor: Tensor) -> Tensor | None:
    """`tensor` as int8 with a scale, or a scale per slice along an axis; None where its values are no such numbers."""
    for axis in (None, *(i for i in range(len(tensor.shape)) if tensor.shape[i] > 1)):
        slices = tensor.data.reshape(1, -1) if axis is None else np.moveaxis(tensor.data, axis, 0)
        found = int8_steps(slices.reshape(len(slices), -1)) if slices.size >= _SHORTEST * len(slices) else None
        if found is None:
            continue
        steps, scales = found
        if axis is None:
            data = steps.reshape(tensor.shape)
        else:
            data = np.moveaxis(steps.reshape(slices.shape), 0, axis)
        quantization = Quantization(tuple(map(float, scales)), (0,) * len(scales), axis or 0)
        return dataclasses.replace(
            tensor, dtype="int8", data=np.ascontiguousarray(data, np.int8), quantization=quantization
        )
    return None


def int8_steps(slices: np.ndarray, of_parts: bool = False) -> tuple[np.ndarray, np.ndarray] | None:
    """int8 [n, values] and float32 [n], of which the products are `slices` [n, values]; None where there are none.

    The largest value of a slice is 127 steps in what a symmetric quantiser writes, and fewer after a slice was cut.

    Args:
        slices: [n, values].
        of_parts: whether every slice may have been cut, so that none of them tells that there are no steps.
    """
    largest = np.abs(slices).max(axis=1)
    steps, scales = np.zeros(slices.shape, np.int8), np.ones(len(slices), np.float32)
    left = np.flatnonzero(largest)
    for count in range(_STEPS, 0, -1):
        scale = largest[left] / np.float32(count)
        whole = np.rint(slices[left] / scale[:, None])
        allowed = _ROUNDING * np.abs(slices[left]) + _NOISE * largest[left, None]
        fits = (np.abs(whole * scale[:, None] - slices[left]) <= allowed).all(axis=1)
        steps[left[fits]], scales[left[fits]] = whole[fits], scale[fits]
        left = left[~fits]
        if not len(left):
            return steps, scales
        if count == _STEPS and not fits.any() and not of_parts:  # along this axis nothing is
            return None
    return None
