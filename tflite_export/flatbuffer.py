"""`Program` <-> .tflite, by way of the schema that ships with ai-edge-litert.

Two things of the file never appear in a `Graph`: resource handles (VAR_HANDLE) and the CALL_ONCE of the shared
initialisation subgraph. `write` puts them in, `read` takes them out. Every signature begins with that CALL_ONCE:
a restored state is then never wiped by the first run of another signature.
"""

from __future__ import annotations

import hashlib
import pathlib
import re
import struct
from collections.abc import Iterable

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_export.graph import Graph, Op, Program, Quantization, Tensor, Variable

IDENTIFIER = b"TFL3"
_ALIGNMENT = 16  # of constant data, as the schema demands (force_align)


def _names(enum) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if not name.startswith("_")}


_KINDS = _names(schema.BuiltinOperator)
_DTYPES = {value: name.lower() for value, name in _names(schema.TensorType).items()}
_ENUM_ATTRIBUTES = {
    "padding": _names(schema.Padding),
    "fused_activation_function": _names(schema.ActivationFunctionType),
    "mode": _names(schema.MirrorPadMode),
}
_OPTIONS = {name.lower(): name for name in _names(schema.BuiltinOptions).values()}
_IRREGULAR_OPTIONS = {
    **dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "Reducer"),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2D"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimum"),
}
# Operators whose first version cannot do what we use them for; every other operator is written as version 1.
_VERSIONS = {"BROADCAST_TO": 2, "DEQUANTIZE": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "GELU": 1}


def write(program: Program) -> bytes:
    """The .tflite file of `program`: one subgraph per signature in the given order, then the initialisation."""
    writer = _Writer()
    init_index = len(program.signatures) if program.variables else None
    subgraphs = [writer.subgraph(graph, init_index) for graph in program.signatures]
    if program.variables:
        subgraphs.append(writer.subgraph(_initialisation(program.variables), None))

    model = schema.ModelT()
    model.version = 3
    model.description = "trainable model by tflite_export"
    model.subgraphs = subgraphs
    model.signatureDefs = [_signature(graph, sub, i) for i, (graph, sub) in enumerate(zip(program.signatures, subgraphs))]
    model.metadata = [writer.metadata(name, value) for name, value in program.metadata.items()]
    model.operatorCodes = writer.operator_codes
    model.buffers = writer.buffers

    builder = _AlignedBuilder(sum(b.data.nbytes + 64 for b in writer.buffers if b.data is not None) + (1 << 16))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns byte vectors, which hold the constants, as the schema demands; flatbuffers for Python does not."""

    def CreateNumpyVector(self, x):
        if x.dtype != np.uint8:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()


def _initialisation(variables: Iterable[Variable]) -> Graph:
    ops = tuple(
        Op("ASSIGN_VARIABLE", (Tensor(v.name + "/initial", v.shape, v.dtype, v.initial),), (), {"variable": v})
        for v in variables
    )
    return Graph("initialise", {}, {}, ops)


def _signature(graph: Graph, subgraph, index: int):
    def tensor_maps(names, indices):
        maps = []
        for name, tensor_index in zip(names, indices):
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, int(tensor_index)
            maps.append(entry)
        return maps

    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = graph.name, index
    signature.inputs = tensor_maps(graph.inputs, subgraph.inputs)
    signature.outputs = tensor_maps(graph.outputs, subgraph.outputs)
    return signature


class _Writer:
    """Collects what the subgraphs of one file share: buffers and operator codes."""

    def __init__(self):
        self.buffers = [schema.BufferT()]  # buffer 0 is empty by convention
        self.operator_codes = []
        self._buffer_index = {}
        self._code_index = {}

    def buffer(self, data: np.ndarray) -> int:
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        key = hashlib.sha256(raw).digest()
        if key not in self._buffer_index:
            self._buffer_index[key] = len(self.buffers)
            entry = schema.BufferT()
            entry.data = raw
            self.buffers.append(entry)
        return self._buffer_index[key]

    def operator_code(self, kind: str) -> int:
        if kind not in self._code_index:
            if not hasattr(schema.BuiltinOperator, kind):
                raise ValueError(f"{kind} is not a TFLite builtin operator; a legalising pass should have rewritten it")
            self._code_index[kind] = len(self.operator_codes)
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, kind)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = _VERSIONS.get(kind, 1)
            self.operator_codes.append(code)
        return self._code_index[kind]

    def metadata(self, name: str, value: bytes):
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self.buffer(np.frombuffer(value, np.uint8))
        return entry

    def subgraph(self, graph: Graph, init_index: int | None):
        return _SubgraphWriter(self, graph).write(init_index)


class _SubgraphWriter:
    def __init__(self, writer: _Writer, graph: Graph):
        self.writer, self.graph = writer, graph
        self.tensors, self.operators = [], []
        self._index, self._names = {}, {}
        self._constant_index, self._handles = {}, {}

    def write(self, init_index):
        subgraph = schema.SubGraphT()
        subgraph.name = self.graph.name
        subgraph.inputs = [self.tensor(t) for t in self.graph.inputs.values()]
        if init_index is not None:
            self.operator("CALL_ONCE", [], [], {"init_subgraph_index": init_index})
        for op in self.graph.ops:
            inputs = [-1 if t is None else self.tensor(t) for t in op.inputs]
            attributes = dict(op.attributes)
            variable = attributes.pop("variable", None)
            if variable is not None:
                inputs.insert(0, self.handle(variable, op.kind))
            self.operator(op.kind, inputs, [self.tensor(t) for t in op.outputs], attributes)
        subgraph.outputs = [self.tensor(t) for t in self.graph.outputs.values()]
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        return subgraph

    def handle(self, variable: Variable, use: str) -> int:
        """The resource tensor of `variable`, one for reading and one for assigning: a delegate may take either."""
        if (variable, use) not in self._handles:
            handle = Tensor(variable.name + "/handle", (), "resource")
            self._handles[variable, use] = self.tensor(handle)
            options = {"shared_name": variable.name, "container": ""}
            self.operator("VAR_HANDLE", [], [self._handles[variable, use]], options)
        return self._handles[variable, use]

    def tensor(self, tensor: Tensor) -> int:
        if tensor in self._index:
            return self._index[tensor]
        entry = schema.TensorT()
        entry.shape = np.asarray(tensor.shape, np.int32)
        entry.hasRank = True
        entry.type = getattr(schema.TensorType, tensor.dtype.upper())
        entry.name = self._unique(tensor.name)
        entry.buffer = 0 if tensor.data is None else self.writer.buffer(tensor.data)
        key = (entry.buffer, tensor.shape, tensor.dtype, tensor.quantization)
        if entry.buffer and key in self._constant_index:
            self._index[tensor] = self._constant_index[key]
            return self._index[tensor]
        if tensor.quantization is not None:
            entry.quantization = schema.QuantizationParametersT()
            entry.quantization.scale = np.asarray(tensor.quantization.scale, np.float32)
            entry.quantization.zeroPoint = np.asarray(tensor.quantization.zero_point, np.int64)
            entry.quantization.quantizedDimension = tensor.quantization.axis
        self._index[tensor] = self._constant_index[key] = len(self.tensors)
        self.tensors.append(entry)
        return self._index[tensor]

    def operator(self, kind, inputs, outputs, attributes):
        entry = schema.OperatorT()
        entry.opcodeIndex = self.writer.operator_code(kind)
        entry.inputs, entry.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        options_name = _IRREGULAR_OPTIONS.get(kind, kind.replace("_", "")) + "Options"
        options_name = _OPTIONS.get(options_name.lower())
        if options_name is not None:
            entry.builtinOptionsType = getattr(schema.BuiltinOptions, options_name)
            entry.builtinOptions = _pack_options(kind, getattr(schema, options_name + "T")(), attributes)
        elif attributes:
            raise ValueError(f"{kind} has no options in the schema, got {sorted(attributes)}")
        self.operators.append(entry)

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return name if count == 0 else self._unique(f"{name}_{count}")


def _pack_options(kind, options, attributes):
    for name, value in attributes.items():
        field = re.sub(r"_(\w)", lambda match: match.group(1).upper(), name)
        if not hasattr(options, field):
            raise ValueError(f"{kind} has no option {name!r} in the schema")
        if isinstance(value, str) and name in _ENUM_ATTRIBUTES:
            value = {text: number for number, text in _ENUM_ATTRIBUTES[name].items()}[value]
        setattr(options, field, value)
    return options


def read(source: bytes | str | pathlib.Path) -> Program:
    """The program in a .tflite file (its content, or its path).

    A subgraph without a signature is named "subgraph<i>"; subgraphs that only initialise variables are folded into
    `Variable.initial`. Raises ValueError for what is not a readable TFLite file.
    """
    content = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ValueError("not a TFLite file: the identifier 'TFL3' is missing at byte 4")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        return _Reader(model).program()
    except (IndexError, struct.error, KeyError, TypeError, AttributeError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError(f"not a readable TFLite file (truncated or damaged): {error}") from error


class _Reader:
    def __init__(self, model):
        self.model = model
        self.kinds = [_KINDS[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
        self._variables = {}

    def program(self) -> Program:
        signatures = {s.subgraphIndex: s for s in self.model.signatureDefs or []}
        init = {
            op.builtinOptions.initSubgraphIndex
            for sub in self.model.subgraphs
            for op in sub.operators or []
            if self.kinds[op.opcodeIndex] == "CALL_ONCE"
        }
        for index in sorted(init):
            self._read_initial_values(self.model.subgraphs[index])
        graphs = tuple(
            self._graph(sub, signatures.get(i), f"subgraph{i}")
            for i, sub in enumerate(self.model.subgraphs)
            if i not in init
        )
        metadata = {_text(m.name): self._bytes(m.buffer).tobytes() for m in self.model.metadata or []}
        return Program(graphs, metadata)

    def _read_initial_values(self, sub):
        for op, (_, names) in zip(sub.operators, self._handles(sub)):
            if self.kinds[op.opcodeIndex] == "ASSIGN_VARIABLE":
                name, value = names[op.inputs[0]], self._tensor(sub.tensors[op.inputs[1]])
                self._variables[name] = Variable(name, value.data)

    def _handles(self, sub):
        """Pairs every operator with the variable names of the resource tensors known so far."""
        names = {}
        for op in sub.operators or []:
            if self.kinds[op.opcodeIndex] == "VAR_HANDLE":
                names[op.outputs[0]] = _text(op.builtinOptions.sharedName)
            yield op, names

    def _graph(self, sub, signature, default_name) -> Graph:
        tensors = [self._tensor(t) for t in sub.tensors]
        ops = []
        for op, names in self._handles(sub):
            kind = self.kinds[op.opcodeIndex]
            if kind in ("VAR_HANDLE", "CALL_ONCE"):
                continue
            inputs = [None if i < 0 else tensors[i] for i in _indices(op.inputs)]
            attributes = _unpack_options(op)
            if kind in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
                attributes["variable"] = self._variables[names[op.inputs[0]]]
                inputs = inputs[1:]
            outputs = tuple(tensors[i] for i in _indices(op.outputs))
            ops.append(Op(kind, tuple(inputs), outputs, attributes, outputs[0].name if outputs else ""))
        if signature is None:
            inputs = {tensors[i].name: tensors[i] for i in _indices(sub.inputs)}
            outputs = {tensors[i].name: tensors[i] for i in _indices(sub.outputs)}
            return Graph(default_name, inputs, outputs, tuple(ops))
        inputs = {_text(m.name): tensors[m.tensorIndex] for m in signature.inputs or []}
        outputs = {_text(m.name): tensors[m.tensorIndex] for m in signature.outputs or []}
        return Graph(_text(signature.signatureKey), inputs, outputs, tuple(ops))

    def _tensor(self, entry) -> Tensor:
        shape = tuple(int(n) for n in _indices(entry.shape))
        dtype = _DTYPES[entry.type]
        raw = self._bytes(entry.buffer)
        data = None
        if raw is not None and dtype not in ("string", "resource", "variant", "int4"):
            data = raw.view(np.dtype(dtype))
            if data.size != np.prod(shape, dtype=np.int64):
                raise ValueError(f"tensor {_text(entry.name)!r}: {raw.size} bytes do not hold {dtype}{list(shape)}")
            data = data.reshape(shape)
        return Tensor(_text(entry.name), shape, dtype, data, _quantization(entry.quantization))

    def _bytes(self, index) -> np.ndarray | None:
        data = self.model.buffers[index].data
        return None if data is None or len(data) == 0 else np.array(data, np.uint8)


def _quantization(entry) -> Quantization | None:
    if entry is None or entry.scale is None or len(_indices(entry.scale)) == 0:
        return None
    zero_point = entry.zeroPoint if entry.zeroPoint is not None else [0] * len(entry.scale)
    return Quantization(
        tuple(float(s) for s in entry.scale), tuple(int(z) for z in zero_point), int(entry.quantizedDimension)
    )


def _unpack_options(op) -> dict[str, object]:
    attributes = {}
    for field, value in vars(op.builtinOptions).items() if op.builtinOptions is not None else ():
        name = re.sub(r"([A-Z])", lambda match: "_" + match.group(1).lower(), field)
        if name in _ENUM_ATTRIBUTES:
            value = _ENUM_ATTRIBUTES[name][value]
        if isinstance(value, np.ndarray):
            value = tuple(int(v) for v in value)
        if value is not None:
            attributes[name] = value
    return attributes


def _indices(values):
    """A vector that the schema may leave out; the object API gives 0 or None for an absent one."""
    return () if values is None or isinstance(values, int) else values


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
