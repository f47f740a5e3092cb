"""A quantised graph as the float graph that its weights stand for."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflite_export.evaluate.quantization import dequantize, is_quantized
from tflite_export.graph import Graph, Op, Tensor

_CROSSINGS = ("QUANTIZE", "DEQUANTIZE")
_WITH_KERNEL = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
_INTEGER_ATTRIBUTES = ("asymmetric_quantize_inputs", "quantized_bias_type")  # of kernels that compute in integers


def dequantise(graph: Graph) -> Graph:
    """`graph` in float32: every quantised or float16 constant becomes the numbers that it stands for.

    Covers float16 constants behind DEQUANTIZE, int8 kernels of hybrid operators, and fully quantised graphs, whose
    int32 biases have a scale too; there, rounding and saturation of activations are dropped, and so are QUANTIZE and
    DEQUANTIZE between operators. Fused activations stay, and those that a converter has left to saturation come back
    (`_activation_of_range`). A quantised input or output becomes the real one. A float32 graph comes back with the same
    values.

    Raises:
        ValueError: a CAST of, or to, integers that stand for other numbers; names the operator.
    """
    real: dict[Tensor, Tensor] = {}  # what takes the place of a tensor

    def value(tensor: Tensor | None) -> Tensor | None:
        if tensor is not None and tensor not in real:
            real[tensor] = _real(tensor)
        return real.get(tensor)

    last = max((i for i, op in enumerate(graph.ops) if op.kind in _WITH_KERNEL), default=-1)
    ops = []
    for i, op in enumerate(graph.ops):
        if op.kind in _CROSSINGS:
            real[op.outputs[0]] = value(op.inputs[0])
            continue
        if op.kind == "CAST" and not all(map(_is_its_integers, (*op.inputs, *op.outputs))):
            raise ValueError(
                f"{op} (origin {op.origin!r}) casts the integers that a quantised tensor is stored as, not the numbers "
                "that they stand for, so it has no float form that trains. Use DEQUANTIZE or QUANTIZE there, or "
                "convert the model without quantisation"
            )
        attributes = {name: of for name, of in op.attributes.items() if name not in _INTEGER_ATTRIBUTES}
        gives_scores = i >= last and math.prod(op.outputs[0].shape[1:-1]) == 1
        if not gives_scores and attributes.get("fused_activation_function") == "NONE":
            attributes["fused_activation_function"] = _activation_of_range(op)
        inputs, outputs = tuple(map(value, op.inputs)), tuple(map(value, op.outputs))
        ops.append(Op(op.kind, inputs, outputs, attributes, op.origin))
    inputs = {name: value(tensor) for name, tensor in graph.inputs.items()}
    outputs = {name: value(tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(inputs=inputs, outputs=outputs, ops=tuple(ops))


def _activation_of_range(op: Op) -> str:
    """The activation that the range of a quantised output stands for: "RELU" where it begins at 0, "RELU6" where it
    ends at 6 too, else "NONE".

    TOCO, which made most uint8 files there are, takes away a fused activation that saturation does anyway
    (remove_trivial_quantized_activation_func.cc). Without it their convolutions would be one linear map. A sum or a
    product of what is not negative needs none. Nor do the last scores, whose range is what calibration saw of them.
    """
    (output,) = op.outputs[:1]
    if op.kind not in (*_WITH_KERNEL, "ADD", "SUB", "MUL") or not _begins_at_zero(output):
        return "NONE"
    if op.kind in ("ADD", "MUL") and all(map(_begins_at_zero, op.inputs)):
        return "NONE"
    (scale,), limits = output.quantization.scale, np.iinfo(output.dtype)
    return "RELU6" if abs(scale * (limits.max - limits.min) - 6) < scale else "RELU"


def _is_its_integers(tensor: Tensor) -> bool:
    """Whether the numbers of a tensor are what it is stored as."""
    if not is_quantized(tensor):
        return True
    return set(tensor.quantization.scale) == {1.0} and set(tensor.quantization.zero_point) == {0}


def _begins_at_zero(tensor: Tensor) -> bool:
    return is_quantized(tensor) and set(tensor.quantization.zero_point) == {np.iinfo(tensor.dtype).min}


def _real(tensor: Tensor) -> Tensor:
    if tensor.is_constant and is_quantized(tensor):
        numbers = dequantize(tensor.data.reshape(tensor.shape), tensor).astype(np.float32)
        return Tensor(tensor.name, tensor.shape, "float32", numbers)
    if tensor.dtype == "float16":
        data = tensor.data.astype(np.float32) if tensor.is_constant else None
        return Tensor(tensor.name, tensor.shape, "float32", data)
    if is_quantized(tensor):
        return Tensor(tensor.name, tensor.shape, "float32")
    return dataclasses.replace(tensor, quantization=None)
