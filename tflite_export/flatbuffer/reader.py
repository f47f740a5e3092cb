""".tflite -> `Program`."""

from __future__ import annotations

import pathlib
import struct

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tflite_export.flatbuffer import options
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor, Variable

_IDENTIFIER = b"TFL3"
_KINDS = options.enum_names(schema.BuiltinOperator)
_DAMAGE = (
    *(IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError, OverflowError, struct.error),
    RecursionError,  # an IF among its own branches
)
_DTYPES = {value: name.lower() for value, name in options.enum_names(schema.TensorType).items()}


def read(source: bytes | str | pathlib.Path) -> Program:
    """The program in a .tflite file (its content, or its path).

    A subgraph without a signature is named "subgraph<i>"; the branches of IF lie in their operator, and subgraphs that
    only initialise variables are folded into `Variable.initial`. Raises ValueError for what is not a readable TFLite
    file.
    """
    content = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    if len(content) < 8 or content[4:8] != _IDENTIFIER:
        raise ValueError("not a TFLite file: the identifier 'TFL3' is missing at byte 4")
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        return _Reader(model).program()
    except _DAMAGE as error:
        raise ValueError(f"not a readable TFLite file (truncated or damaged): {error}") from error


class _Reader:
    def __init__(self, model):
        self.model = model
        self.kinds = [_KINDS[max(c.builtinCode, c.deprecatedBuiltinCode)] for c in model.operatorCodes]
        self.tensors = [[self._tensor(tensor) for tensor in sub.tensors] for sub in model.subgraphs]
        self._variables = {}

    def program(self) -> Program:
        signatures = {s.subgraphIndex: s for s in self.model.signatureDefs or []}
        init, branches = self._called("CALL_ONCE", "init"), self._called("IF", "then", "else")
        for index in sorted(init):
            self._read_initial_values(index)
        graphs = tuple(
            self._graph(i, signatures.get(i), f"subgraph{i}")
            for i in range(len(self.model.subgraphs))
            if i not in init | branches
        )
        metadata = {_text(m.name): self._bytes(m.buffer).tobytes() for m in self.model.metadata or []}
        table = np.frombuffer(metadata.pop(options.OFFSETS, b""), "<i4")[3:]
        numbered = [tensor for tensors in self.tensors for tensor in tensors] if table.size else []
        offsets = {t: int(offset) for t, offset in zip(numbered, table, strict=True) if offset >= 0}
        return Program(graphs, metadata, offsets)

    def _called(self, kind, *roles) -> set[int]:
        """The subgraphs that operators of `kind` run."""
        operators = [op for sub in self.model.subgraphs for op in sub.operators or []]
        options = [op.builtinOptions for op in operators if self.kinds[op.opcodeIndex] == kind]
        return {getattr(option, f"{role}SubgraphIndex") for option in options for role in roles}

    def _read_initial_values(self, index):
        sub, tensors = self.model.subgraphs[index], self.tensors[index]
        values = {i: tensor.data for i, tensor in enumerate(tensors)}
        for op, (_, names) in zip(sub.operators, self._handles(sub)):
            kind = self.kinds[op.opcodeIndex]
            if kind == "FILL":
                shape, number = (values[i] for i in op.inputs)
                values[op.outputs[0]] = np.full(shape, number)
            if kind == "ASSIGN_VARIABLE":
                name = names[op.inputs[0]]
                self._variables[name] = Variable(name, values[op.inputs[1]])

    def _handles(self, sub):
        """Pairs every operator with the variable names of the resource tensors known so far."""
        names = {}
        for op in sub.operators or []:
            if self.kinds[op.opcodeIndex] == "VAR_HANDLE":
                names[op.outputs[0]] = _text(op.builtinOptions.sharedName)
            yield op, names

    def _graph(self, index, signature, default_name) -> Graph:
        sub, tensors = self.model.subgraphs[index], self.tensors[index]
        ops = []
        for op, names in self._handles(sub):
            kind = self.kinds[op.opcodeIndex]
            if kind in ("VAR_HANDLE", "CALL_ONCE"):
                continue
            inputs = [None if i < 0 else tensors[i] for i in _indices(op.inputs)]
            attributes = options.unpack(op.builtinOptions)
            if kind in ("READ_VARIABLE", "ASSIGN_VARIABLE"):
                attributes["variable"] = self._variables[names[op.inputs[0]]]
                inputs = inputs[1:]
            for branch in ("then", "else") if kind == "IF" else ():
                called = attributes.pop(f"{branch}_subgraph_index")
                name = _text(self.model.subgraphs[called].name)
                attributes[f"{branch}_graph"] = self._graph(called, None, name)
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


def _indices(values):
    """A vector that the schema may leave out; the object API gives 0 or None for an absent one."""
    return () if values is None or isinstance(values, int) else values


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
