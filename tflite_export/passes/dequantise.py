"""A quantised graph as the float graph that its weights stand for."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.evaluate.quantization import dequantize, is_quantized
from tflite_export.graph import Graph, Op, Tensor

_CROSSINGS = ("QUANTIZE", "DEQUANTIZE")
_INTEGER_ATTRIBUTES = ("asymmetric_quantize_inputs", "quantized_bias_type")  # of kernels that compute in integers


def dequantise(graph: Graph) -> Graph:
    """`graph` in float32: every quantised or float16 constant becomes the numbers that it stands for.

    Covers float16 constants behind DEQUANTIZE, int8 kernels of hybrid operators, and fully quantised graphs, whose
    int32 biases have a scale too; there, rounding and saturation of activations are dropped, and so are QUANTIZE and
    DEQUANTIZE between operators. Fused activations stay. A quantised input or output becomes the real one. A float32
    graph comes back with the same values.
    """
    real: dict[Tensor, Tensor] = {}  # what takes the place of a tensor

    def value(tensor: Tensor | None) -> Tensor | None:
        if tensor is not None and tensor not in real:
            real[tensor] = _real(tensor)
        return real.get(tensor)

    ops = []
    for op in graph.ops:
        if op.kind in _CROSSINGS:
            real[op.outputs[0]] = value(op.inputs[0])
            continue
        attributes = {name: of for name, of in op.attributes.items() if name not in _INTEGER_ATTRIBUTES}
        inputs, outputs = tuple(map(value, op.inputs)), tuple(map(value, op.outputs))
        ops.append(Op(op.kind, inputs, outputs, attributes, op.origin))
    inputs = {name: value(tensor) for name, tensor in graph.inputs.items()}
    outputs = {name: value(tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(inputs=inputs, outputs=outputs, ops=tuple(ops))


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
