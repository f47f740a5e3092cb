"""Affine quantisation, per tensor and per channel, and the operators that cross it.

Source: TFLite's quantization specification; rounding is half away from zero as in TfLiteRound.
"""

from __future__ import annotations

import numpy as np

from tflite_export.graph import Op, Tensor

# Operators that work on the stored integers: what they write is not quantised anew.
STORED = {"CAST", "READ_VARIABLE", "ASSIGN_VARIABLE"}


def is_quantized(tensor: Tensor | None) -> bool:
    return tensor is not None and tensor.quantization is not None and np.dtype(tensor.dtype).kind in "iu"


def _per_axis(values, tensor: Tensor, dtype) -> np.ndarray:
    """`values` shaped to broadcast along the quantised axis; one value serves the whole tensor."""
    values = np.asarray(values, dtype)
    if values.size == 1:
        return values.reshape(())
    expected = tensor.shape[tensor.quantization.axis]
    if values.size != expected:
        raise ValueError(f"{tensor} has {values.size} scales or zero points, its quantised axis has {expected} slices")
    return values.reshape([-1 if i == tensor.quantization.axis else 1 for i in range(len(tensor.shape))])


def dequantize(stored: np.ndarray, tensor: Tensor) -> np.ndarray:
    scale = _per_axis(tensor.quantization.scale, tensor, np.float64)
    return scale * (stored.astype(np.int64) - _per_axis(tensor.quantization.zero_point, tensor, np.int64))


def quantize(real: np.ndarray, tensor: Tensor) -> np.ndarray:
    scaled = np.asarray(real, np.float64) / _per_axis(tensor.quantization.scale, tensor, np.float64)
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)
    limits = np.iinfo(tensor.dtype)
    stored = rounded + _per_axis(tensor.quantization.zero_point, tensor, np.int64)
    return np.clip(stored, limits.min, limits.max).astype(tensor.dtype)


def real_operands(op: Op, operands) -> tuple[np.ndarray | None, ...]:
    """The operands with quantised ones as real numbers, unless the operator works on stored integers."""
    stored_output = any(np.dtype(t.dtype).kind in "iu" and not is_quantized(t) for t in op.outputs)
    if op.kind in STORED or stored_output:
        return operands
    return tuple(dequantize(v, t) if is_quantized(t) else v for v, t in zip(operands, op.inputs))


def _identity(op, x):
    """Both directions: operands come as real numbers, and a quantised output is rounded when it is stored."""
    return x


KERNELS = {"QUANTIZE": _identity, "DEQUANTIZE": _identity}
