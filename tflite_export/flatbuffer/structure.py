"""Whether the bytes of a .tflite file are a flatbuffer of its schema, told before anything is unpacked.

The schema's object API follows every offset and believes every length; where a file lies, that loops, or takes memory
without bound. This is what flatbuffers' Verifier is to C++: every table, vector and string lies inside the file and is
aligned, and all of them together are not much larger than the file. Tables that we never look into are refused.

Sources: schema.fbs of LiteRT; "FlatBuffer Internals" of the flatbuffers project.
"""

from __future__ import annotations

import struct

from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"  # at byte 4

# The fields of a table, in order: a scalar's bytes, a vector's element in brackets, a table's name, "string",
# "options" (a union behind its type), or None for what must be absent.
_TABLES = {
    "Model": (
        *(4, "[OperatorCode]", "[SubGraph]", "string", "[Buffer]", "[4]", "[Metadata]", "[SignatureDef]"),
        *(None, None),  # buffers in other files
    ),
    "OperatorCode": (1, "string", 4, 4),
    "SubGraph": ("[Tensor]", "[4]", "[4]", "[Operator]", "string", 4),
    "Tensor": ("[4]", 1, 4, "string", "QuantizationParameters", 1, None, "[4]", 1, None, None),
    "QuantizationParameters": ("[4]", "[4]", "[4]", "[8]", 1, None, 4),
    "Operator": (4, "[4]", "[4]", 1, "options", "[1]", 1, "[1]", "[4]", None, None, 1, None, 4),
    "Buffer": ("[1]", 8, 8),
    "Metadata": ("string", 4),
    "SignatureDef": ("[TensorMap]", "[TensorMap]", "string", 4, 4),  # the fourth is deprecated, nobody reads it
    "TensorMap": ("string", 4),
    "ReshapeOptions": ("[4]",),
    "SqueezeOptions": ("[4]",),
    "VarHandleOptions": ("string", "string"),
    "BucketizeOptions": ("[4]",),
    "FullyConnectedOptions": (1, 1, 1, 1, 1, "[1]"),
    "ConcatEmbeddingsOptions": (4, "[4]", "[4]"),
}
_MEANING = {  # what an absent field would say, in the words of an error
    ("Model", 8): "external buffers",
    ("Model", 9): "external buffers",
    ("Tensor", 6): "sparsity",
    ("Tensor", 9): "variant tensors",
    ("Tensor", 10): "an external buffer",
    ("QuantizationParameters", 5): "quantization that is not per tensor or per axis",
    ("Operator", 9): "custom options behind the flatbuffer",
    ("Operator", 10): "custom options behind the flatbuffer",
    ("Operator", 12): "options of StableHLO",
}
_OPTIONS = {value: name for name, value in vars(schema.BuiltinOptions).items() if not name.startswith("_")}
_OPTIONS_TYPE = 3  # the field of Operator before "options"


def check_structure(content: bytes) -> None:
    """Refuses what is no flatbuffer of the schema.

    Raises:
        ValueError: with the table, what is wrong with it and where.
    """
    if len(content) < 8 or content[4:8] != IDENTIFIER:
        raise ValueError("not a TFLite file: the identifier 'TFL3' is missing at byte 4")
    try:
        _Walk(content).run()
    except struct.error as error:
        raise ValueError(f"not a readable TFLite file (truncated or damaged): {error}") from error


class _Walk:
    """One pass over all tables; `left` is how many bytes they may still take."""

    def __init__(self, content: bytes):
        self.content, self.size, self.left = content, len(content), 2 * len(content)
        self.layouts: dict[tuple[int, str], tuple] = {}

    def run(self) -> None:
        self.table(self.follow(0), "Model")

    def refuse(self, name: str, at: int, problem: str) -> None:
        raise ValueError(f"not a readable TFLite file (truncated or damaged): {name} at byte {at} {problem}")

    def spend(self, name: str, at: int, size: int) -> None:
        """Counts a part of `size` bytes: parts that share bytes could together be as large as they like."""
        self.left -= size
        if at + size > self.size:
            self.refuse(name, at, f"reaches {at + size - self.size} bytes over the end")
        if self.left < 0:
            self.refuse(name, at, "is shared: the parts of the file are larger than the file")

    def follow(self, at: int) -> int:
        (offset,) = struct.unpack_from("<I", self.content, at)
        return at + offset

    def table(self, at: int, name: str) -> None:
        if at % 4 or at + 4 > self.size:
            self.refuse(name, at, "is not aligned or lies outside")
        vtable = at - struct.unpack_from("<i", self.content, at)[0]
        key = (vtable, name)
        if key not in self.layouts:
            self.layouts[key] = self.layout(vtable, name, at)
        size, parts = self.layouts[key]
        self.spend(name, at, size)
        for kind, offset in parts:
            if kind == "options":
                self.options(at, offset, vtable)
            else:
                self.part(self.follow(at + offset), kind)

    def layout(self, vtable: int, name: str, at: int) -> tuple[int, tuple]:
        """The size of a table, and kind and offset of its parts that lie elsewhere."""
        if vtable < 0 or vtable % 2 or vtable + 4 > self.size:
            self.refuse(name, at, "has no table of fields inside the file")
        length, size = struct.unpack_from("<HH", self.content, vtable)
        if length < 4 or length % 2 or vtable + length > self.size or size < 4:
            self.refuse(name, at, f"has a damaged table of fields at byte {vtable}")
        self.spend(name, vtable, length)
        offsets = struct.unpack_from(f"<{length // 2 - 2}H", self.content, vtable + 4)
        fields = _TABLES.get(name)
        if fields is None:  # options of scalars, of eight bytes at most
            if any(offset and not 4 <= offset < size for offset in offsets):
                self.refuse(name, at, "has a field outside")
            return size, ()
        parts = []
        for i, (kind, offset) in enumerate(zip(fields, offsets)):
            if not offset:
                continue
            if kind is None:
                self.refuse(name, at, f"has {_MEANING[name, i]}, which is not supported")
            if not 4 <= offset <= size - (kind if isinstance(kind, int) else 4):
                self.refuse(name, at, f"has field {i} outside")
            if not isinstance(kind, int):
                parts.append((kind, offset))
        return size, tuple(parts)

    def options(self, at: int, offset: int, vtable: int) -> None:
        (where,) = struct.unpack_from("<H", self.content, vtable + 4 + 2 * _OPTIONS_TYPE)
        number = self.content[at + where] if where else 0
        if number not in _OPTIONS:
            self.refuse("Operator", at, f"has options of an unknown type, {number}")
        if number:
            self.table(self.follow(at + offset), _OPTIONS[number])

    def part(self, at: int, kind: str) -> None:
        if kind in _TABLES:
            self.table(at, kind)
            return
        element = 1 if kind == "string" else kind[1:-1]
        if at % 4 or at + 4 > self.size:
            self.refuse(f"a vector ({kind})", at, "is not aligned or lies outside")
        (length,) = struct.unpack_from("<I", self.content, at)
        width = int(element) if str(element).isdigit() else 4
        self.spend(f"a vector ({kind}) of {length}", at, 4 + length * width + (kind == "string"))
        if kind == "string" and self.content[at + 4 + length]:
            self.refuse("a string", at, "does not end in a zero byte")
        if element in _TABLES:
            for entry in range(at + 4, at + 4 + 4 * length, 4):
                self.table(self.follow(entry), element)
