"""Plain questions to the model that the schema's object API unpacks."""

from __future__ import annotations

import math

from ai_edge_litert import schema_py_generated as schema

from tflite_export.flatbuffer import options
from tflite_export.graph import CUSTOM

KINDS = options.enum_names(schema.BuiltinOperator)
DTYPES = {value: name.lower() for value, name in options.enum_names(schema.TensorType).items()}
_CALLS = {"IF": ("then", "else"), "WHILE": ("cond", "body"), "CALL_ONCE": ("init",), "CALL": ("",)}


def kind(model, op) -> str:
    """The name of an operator: "CUSTOM" of a custom one, unless we know it."""
    code = model.operatorCodes[op.opcodeIndex]
    name = KINDS[builtin_code(code)]
    return text(code.customCode) if name == "CUSTOM" and text(code.customCode) in CUSTOM else name


def builtin_code(code) -> int:
    """The number of an operator. Files of old have it in a byte, which new ones fill too."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def called_subgraphs(model, op) -> tuple[int, ...]:
    """The subgraphs that an operator runs."""
    fields = [f"{role}SubgraphIndex" if role else "subgraph" for role in _CALLS.get(kind(model, op), ())]
    return tuple(getattr(op.builtinOptions, field) for field in fields)


def has_values(model, tensor) -> bool:
    """Whether a tensor is a constant. One without elements is, where it names a buffer, though that is empty."""
    if tensor.buffer == 0:
        return False
    data = model.buffers[tensor.buffer].data
    return (data is not None and len(data) > 0) or math.prod(int(n) for n in vector(tensor.shape)) == 0


def vector(values):
    """A vector that the schema may leave out; the object API gives 0 or None for an absent one."""
    return () if values is None or isinstance(values, int) else values


def text(value: bytes | str | None) -> str:
    """Names in the file are UTF-8; what is not is shown as it is."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value or ""
