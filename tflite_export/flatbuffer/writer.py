"""`Program` -> .tflite."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_export.builder import integers
from tflite_export.flatbuffer import custom_options, options
from tflite_export.graph import CUSTOM, Graph, Op, Program, Tensor, Variable

_ALIGNMENT = 16  # of constant data, as the schema demands (force_align)
_STORED_AS_IT_IS = 512  # bytes of an initial value that an operator to make it would not be shorter than
# Operators whose first version cannot do what we use them for; every other operator is written as version 1.
_VERSIONS = {"BROADCAST_TO": 2, "DEQUANTIZE": 2, "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3}


def write(program: Program) -> bytes:
    """The .tflite file of `program`: a subgraph per signature in the given order, those of IF's branches, and the last
    for the initialisation."""
    branches = [branch for graph in program.signatures for branch in graph.branches]
    graphs = [*program.signatures, *branches]
    writer = _Writer({graph: i for i, graph in enumerate(graphs)})
    init_index = len(graphs) if program.variables else None
    subgraphs = [writer.signature(graph, init_index) for graph in program.signatures]
    subgraphs += [_SubgraphWriter(writer, branch, handles_by_use=False).write(None) for branch in branches]
    if program.variables:
        subgraphs.append(_SubgraphWriter(writer, _initialisation(program.variables)).write(None))
    metadata = dict(program.metadata)
    if program.offsets:
        metadata[options.OFFSETS] = writer.offsets(program.offsets)

    model = schema.ModelT()
    model.version = 3
    model.description = "trainable model by tflite_export"
    model.subgraphs = subgraphs
    model.signatureDefs = writer.signatures
    model.metadata = [writer.metadata(name, value) for name, value in metadata.items()]
    model.operatorCodes = writer.operator_codes

    builder = _AlignedBuilder(sum(data.nbytes + 64 for data in writer.constants) + (1 << 16))
    model.buffers = [schema.BufferT(), *_placed(builder, writer.constants)]  # buffer 0 is empty by convention
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns byte vectors, which hold the constants, as the schema demands; flatbuffers for Python does not.

    Shapes, lists of operands, names and options that are alike are in the file once: of a training step's many small
    operators they are most of what there is to say.
    """

    def __init__(self, size: int):
        super().__init__(size)
        self.strings: dict[str | bytes, int] = {}
        self.vectors: dict[tuple, int] = {}
        self.tables: dict[tuple, int] = {}

    def CreateString(self, s, encoding="utf-8", errors="strict"):
        if s not in self.strings:
            self.strings[s] = super().CreateString(s, encoding, errors)
        return self.strings[s]

    def CreateNumpyVector(self, x):
        if x.dtype != np.uint8:
            key = (x.dtype.str, x.tobytes())
            if key not in self.vectors:
                self.vectors[key] = super().CreateNumpyVector(x)
            return self.vectors[key]
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        return self.EndVector()


class _Placed:
    """A buffer whose data is in the file already."""

    def __init__(self, vector: int):
        self.vector = vector

    def Pack(self, builder):
        schema.BufferStart(builder)
        schema.BufferAddData(builder, self.vector)
        return schema.BufferEnd(builder)


def _placed(builder: flatbuffers.Builder, constants: Sequence[np.ndarray]) -> list[_Placed]:
    """Puts the constants at the end of the file, in their order, apart from all that describes the graphs.

    A process then holds the pages of those constants only that it reads: the last are the variables' initial values,
    which it reads once.
    """
    return [_Placed(builder.CreateNumpyVector(data)) for data in reversed(constants)][::-1]


class _SharedOptions:
    """Options of an operator, which are packed once for all operators that have the same."""

    def __init__(self, options):
        self.options = options

    def Pack(self, builder: _AlignedBuilder) -> int:
        key = (type(self.options), *(repr(value) for value in vars(self.options).values()))
        if key not in builder.tables:
            builder.tables[key] = self.options.Pack(builder)
        return builder.tables[key]


def _initialisation(variables: Iterable[Variable]) -> Graph:
    """Assigns every variable its initial value. Where that repeats one number, as momentum's zeros do, the file holds
    the number and FILL."""
    ops: list[Op] = []
    for variable in variables:
        initial = Tensor(variable.name + "/initial", variable.shape, variable.dtype, variable.initial)
        if initial.nbytes > _STORED_AS_IT_IS and _repeats(variable.initial):
            number = Tensor("number", (), variable.dtype, np.ravel(variable.initial)[0])
            initial = dataclasses.replace(initial, data=None)
            ops.append(Op("FILL", (integers(variable.shape), number), (initial,)))
        ops.append(Op("ASSIGN_VARIABLE", (initial,), (), {"variable": variable}))
    return Graph("initialise", {}, {}, tuple(ops))


def _repeats(values: np.ndarray) -> bool:
    bits = np.ascontiguousarray(values).view(np.uint8).reshape(-1, values.itemsize)
    return bool((bits == bits[0]).all())


class _Writer:
    """Collects what the subgraphs of one file share: their indices, buffers and operator codes."""

    def __init__(self, subgraph_index: dict[Graph, int]):
        self.subgraph_index = subgraph_index
        self.constants: list[np.ndarray] = []  # the bytes of buffer 1, 2, …
        self.operator_codes = []
        self.signatures = []
        self.numbered: list[Tensor] = []  # the tensors of all subgraphs, one after the other
        self._buffer_index = {}
        self._code_index = {}

    def buffer(self, data: np.ndarray) -> int:
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        key = hashlib.sha256(raw).digest()
        if key not in self._buffer_index:
            self.constants.append(raw)
            self._buffer_index[key] = len(self.constants)
        return self._buffer_index[key]

    def operator_code(self, kind: str) -> int:
        if kind not in self._code_index:
            if not hasattr(schema.BuiltinOperator, kind) and kind not in CUSTOM:
                raise ValueError(f"{kind} is not a TFLite builtin operator; a legalising pass should have rewritten it")
            self._code_index[kind] = len(self.operator_codes)
            code = schema.OperatorCodeT()
            code.builtinCode = getattr(schema.BuiltinOperator, "CUSTOM" if kind in CUSTOM else kind)
            code.customCode = kind if kind in CUSTOM else None
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = _VERSIONS.get(kind, 1)
            self.operator_codes.append(code)
        return self._code_index[kind]

    def metadata(self, name: str, value: bytes):
        entry = schema.MetadataT()
        entry.name, entry.buffer = name, self.buffer(np.frombuffer(value, np.uint8))
        return entry

    def offsets(self, offsets: Mapping[Tensor, int]) -> bytes:
        """Version, a subgraph (0 stands for all), how many tensors there are, and of each the offset, -1 for none."""
        table = [offsets.get(tensor, -1) for tensor in self.numbered]
        return np.array([1, 0, len(table), *table], "<i4").tobytes()

    def signature(self, graph: Graph, init_index: int | None):
        """The subgraph of a signature, which is entered under the graph's name."""
        entry = schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = graph.name, len(self.signatures)
        self.signatures.append(entry)
        subgraph = _SubgraphWriter(self, graph)
        result = subgraph.write(init_index)
        result.outputs = list(dict.fromkeys(result.outputs))  # a signature may give one tensor two names
        entry.inputs, entry.outputs = subgraph.tensor_maps(graph.inputs), subgraph.tensor_maps(graph.outputs)
        return result


class _SubgraphWriter:
    def __init__(self, writer: _Writer, graph: Graph, handles_by_use: bool = True):
        self.writer, self.graph, self.handles_by_use = writer, graph, handles_by_use
        self.tensors, self.operators = [], []
        self._index, self._names = {}, {}
        self._named = {*graph.inputs.values(), *graph.outputs.values()}
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
            for branch in ("then", "else") if op.kind == "IF" else ():
                attributes[f"{branch}_subgraph_index"] = self.branch(op, attributes.pop(f"{branch}_graph"))
            self.operator(op.kind, inputs, [self.tensor(t) for t in op.outputs], attributes)
        subgraph.outputs = [self.tensor(t) for t in self.graph.outputs.values()]
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        return subgraph

    def tensor_maps(self, named):
        maps = []
        for name, tensor in named.items():
            entry = schema.TensorMapT()
            entry.name, entry.tensorIndex = name, self.tensor(tensor)
            maps.append(entry)
        return maps

    def handle(self, variable: Variable, use: str) -> int:
        """The resource tensor of `variable`: one for reading and one for assigning, for a delegate may take either.

        Delegates stay out of branches, and TFLite Micro pays for every handle.
        """
        key = (variable, use if self.handles_by_use else "")
        if key not in self._handles:
            handle = Tensor(variable.name + "/handle", (), "resource")
            self._handles[key] = self.tensor(handle)
            names = {"shared_name": variable.name, "container": ""}
            self.operator("VAR_HANDLE", [], [self._handles[key]], names)
        return self._handles[key]

    def branch(self, op: Op, graph: Graph) -> int:
        """The subgraph of a branch of IF.

        Raises:
            ValueError: it does not take and give what the operator does, or gives one tensor twice: LiteRT's IF would
                fill one of the two outputs only.
        """
        takes, gives = graph.inputs.values(), graph.outputs.values()
        for role, of_op, of_graph in (("inputs", op.inputs[1:], takes), ("outputs", op.outputs, gives)):
            pair = [[(t.shape, t.dtype) for t in tensors] for tensors in (of_op, of_graph)]
            if pair[0] != pair[1]:
                raise ValueError(f"the {role} of the branch {graph.name!r} are {pair[1]}, IF's are {pair[0]}")
        if len({*gives}) < len(gives):
            raise ValueError(f"two outputs of the branch {graph.name!r} are one tensor")
        return self.writer.subgraph_index[graph]

    def tensor(self, tensor: Tensor) -> int:
        if tensor in self._index:
            return self._index[tensor]
        entry = schema.TensorT()
        entry.shape = np.asarray(tensor.shape, np.int32)
        entry.hasRank = True
        entry.type = getattr(schema.TensorType, tensor.dtype.upper())
        entry.name = self._unique(tensor.name) if tensor in self._named else tensor.name
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
        self.writer.numbered.append(tensor)
        return self._index[tensor]

    def operator(self, kind, inputs, outputs, attributes):
        entry = schema.OperatorT()
        entry.opcodeIndex = self.writer.operator_code(kind)
        entry.inputs, entry.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        if kind in CUSTOM:
            entry.customOptions = np.frombuffer(custom_options.pack(kind, attributes), np.uint8)
        else:
            entry.builtinOptionsType, table = options.pack(kind, attributes)
            entry.builtinOptions = None if table is None else _SharedOptions(table)
        self.operators.append(entry)

    def _unique(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, -1) + 1
        return name if count == 0 else self._unique(f"{name}_{count}")
