"""A node of the TFLM adapter as a .tflite file: every tensor that is there is an input or an output of the model."""

from __future__ import annotations

import pathlib
import struct

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.micro.tflm import Node

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int8): schema.TensorType.INT8,
}


def _tensor(name: str, array: np.ndarray) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(array.shape), _TYPES[array.dtype], 0
    return tensor


def model(node: Node) -> bytes:
    """The file. Inputs and outputs are in the node's order, without the absent ones."""
    arrays = [*node.inputs, *(out and out.expected for out in node.outputs)]
    places = np.cumsum([array is not None for array in arrays]) - 1
    indices = [int(place) if array is not None else -1 for place, array in zip(places, arrays)]
    inputs, outputs = indices[: len(node.inputs)], [i for i in indices[len(node.inputs) :] if i >= 0]

    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, inputs, outputs
    operator.customOptions = list(node.options)
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = node.op, 1
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(f"t{i}", array) for i, array in enumerate(a for a in arrays if a is not None)]
    graph.inputs, graph.outputs = [i for i in inputs if i >= 0], outputs
    graph.operators = [operator]
    whole = schema.ModelT()
    whole.version, whole.description = 3, "a node of the adapter"
    whole.operatorCodes, whole.subgraphs, whole.buffers = [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write(nodes: list[Node], path: pathlib.Path) -> None:
    """Writes nodes as tflm_interpreter.cc reads them: per node its file, then each input's bytes."""
    parts = [struct.pack("<i", len(nodes))]
    for node in nodes:
        inputs = [np.ascontiguousarray(array).tobytes() for array in node.inputs if array is not None]
        content = model(node)
        parts += [struct.pack("<i", len(content)), content, struct.pack("<i", len(inputs))]
        parts += [part for data in inputs for part in (struct.pack("<i", len(data)), data)]
    path.write_bytes(b"".join(parts))
