""".tflite -> `Program`."""

from __future__ import annotations

import pathlib
import struct

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_export.flatbuffer import custom_options, options
from tflite_export.flatbuffer.checks import check_model
from tflite_export.flatbuffer.model import DTYPES, called_subgraphs, has_values, kind, text, vector
from tflite_export.flatbuffer.structure import check_structure
from tflite_export.graph import CUSTOM, Graph, Op, Program, Quantization, Tensor, Variable

_LARGEST_FILE = 2**31 - 1  # bytes; offsets of flatbuffers are signed


def read(source: bytes | str | pathlib.Path) -> Program:
    """The program in a .tflite file (its content, or its path).

    A subgraph without a signature is named "subgraph<i>"; the branches of IF lie in their operator, and subgraphs that
    only initialise variables are folded into `Variable.initial`. Whatever the file says is checked before it is used
    (`check_structure`, `check_model`), in time and memory that grow with the file; whether operators go with their
    operands is for `checked` to say.

    Raises:
        ValueError: for what is not a readable TFLite file, with the name of the tensor or operator and what is wrong.
    """
    content = source if isinstance(source, bytes) else _content(pathlib.Path(source))
    return reader(content).program()


def reader(content: bytes) -> Reader:
    """The reader of a file whose structure and model have been checked.

    Raises:
        ValueError: as `read` does.
    """
    check_structure(content)
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
    except struct.error as error:  # the last number of the file, wider than what is left of it
        raise ValueError(f"not a readable TFLite file (truncated or damaged): {error}") from error
    check_model(model, len(content))
    return Reader(model)


def _content(path: pathlib.Path) -> bytes:
    if path.stat().st_size > _LARGEST_FILE:
        raise ValueError(f"{path} has more than {_LARGEST_FILE} bytes")
    return path.read_bytes()


class Reader:
    """Builds a `Program` of a checked model.

    Attributes:
        shape_signatures: of tensors with axes of unknown size, which are -1.
    """

    def __init__(self, model):
        self.model = model
        self.shape_signatures: dict[Tensor, tuple[int, ...]] = {}
        self._buffers: dict[int, np.ndarray | None] = {}
        self.tensors = [[self._tensor(tensor) for tensor in sub.tensors or []] for sub in model.subgraphs]
        self._variables = {}

    def program(self) -> Program:
        signatures = {s.subgraphIndex: s for s in self.model.signatureDefs or []}
        init, branches = self._called("CALL_ONCE"), self._called("IF")
        for index in sorted(init):
            self._read_initial_values(index)
        graphs = tuple(
            self._graph(i, signatures.get(i), f"subgraph{i}")
            for i in range(len(self.model.subgraphs))
            if i not in init | branches
        )
        metadata = {text(m.name): self._metadata(m.buffer) for m in self.model.metadata or []}
        table = np.frombuffer(metadata.pop(options.OFFSETS, b""), "<i4")[3:]
        numbered = [tensor for tensors in self.tensors for tensor in tensors] if table.size else []
        offsets = {t: int(offset) for t, offset in zip(numbered, table, strict=True) if offset >= 0}
        return Program(graphs, metadata, offsets)

    def _metadata(self, index) -> bytes:
        content = self._bytes(index)
        return b"" if content is None else content.tobytes()

    def _called(self, caller: str) -> set[int]:
        """The subgraphs that operators of a kind run."""
        operators = [op for sub in self.model.subgraphs for op in sub.operators or []]
        return {i for op in operators if kind(self.model, op) == caller for i in called_subgraphs(self.model, op)}

    def _read_initial_values(self, index):
        sub, tensors = self.model.subgraphs[index], self.tensors[index]
        values = {i: tensor.data for i, tensor in enumerate(tensors)}
        for op, names in self._handles(sub):
            if kind(self.model, op) == "FILL":
                shape, number = (values[i] for i in op.inputs)
                values[op.outputs[0]] = np.full(shape, number)
            if kind(self.model, op) == "ASSIGN_VARIABLE":
                name = names[op.inputs[0]]
                self._variables[name] = Variable(name, values[op.inputs[1]])

    def _handles(self, sub):
        """Pairs every operator with the variable names of the resource tensors known so far."""
        names = {}
        for op in sub.operators or []:
            if kind(self.model, op) == "VAR_HANDLE":
                names[op.outputs[0]] = text(op.builtinOptions.sharedName)
            yield op, names

    def _graph(self, index, signature, default_name) -> Graph:
        sub, tensors = self.model.subgraphs[index], self.tensors[index]
        ops = []
        for op, names in self._handles(sub):
            name = kind(self.model, op)
            if name in ("VAR_HANDLE", "CALL_ONCE"):
                continue
            inputs = [None if i < 0 else tensors[i] for i in vector(op.inputs)]
            if name in CUSTOM:
                attributes = custom_options.unpack(name, bytes(vector(op.customOptions)))
            else:
                attributes = options.unpack(op.builtinOptions)
            if name in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
                attributes["variable"] = self._variables[names[op.inputs[0]]]
                inputs = inputs[1:]
            for branch in ("then", "else") if name == "IF" else ():
                called = attributes.pop(f"{branch}_subgraph_index")
                attributes[f"{branch}_graph"] = self._graph(called, None, text(self.model.subgraphs[called].name))
            outputs = tuple(tensors[i] for i in vector(op.outputs))
            ops.append(Op(name, tuple(inputs), outputs, attributes, outputs[0].name if outputs else ""))
        if signature is None:
            inputs = {tensors[i].name: tensors[i] for i in vector(sub.inputs)}
            outputs = {tensors[i].name: tensors[i] for i in vector(sub.outputs)}
            return Graph(default_name, inputs, outputs, tuple(ops))
        inputs = {text(m.name): tensors[m.tensorIndex] for m in signature.inputs or []}
        outputs = {text(m.name): tensors[m.tensorIndex] for m in signature.outputs or []}
        return Graph(text(signature.signatureKey), inputs, outputs, tuple(ops))

    def _tensor(self, entry) -> Tensor:
        shape, dtype = tuple(int(n) for n in vector(entry.shape)), DTYPES[entry.type]
        data = None
        if has_values(self.model, entry):
            raw = self._bytes(entry.buffer)
            data = (np.empty(0, np.uint8) if raw is None else raw).view(np.dtype(dtype)).reshape(shape)
        tensor = Tensor(text(entry.name), shape, dtype, data, _quantization(entry.quantization))
        signature = tuple(int(n) for n in vector(entry.shapeSignature))
        if -1 in signature:
            self.shape_signatures[tensor] = signature
        return tensor

    def _bytes(self, index) -> np.ndarray | None:
        """The content of a buffer, which tensors share."""
        if index not in self._buffers:
            data = self.model.buffers[index].data
            self._buffers[index] = None if data is None or len(data) == 0 else np.array(data, np.uint8)
        return self._buffers[index]


def _quantization(entry) -> Quantization | None:
    if entry is None or entry.scale is None or len(vector(entry.scale)) == 0:
        return None
    zero_point = entry.zeroPoint if entry.zeroPoint is not None else [0] * len(entry.scale)
    return Quantization(
        tuple(float(s) for s in entry.scale), tuple(int(z) for z in zero_point), int(entry.quantizedDimension)
    )
