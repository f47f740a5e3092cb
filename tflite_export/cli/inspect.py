"""Shows what stands in a .tflite, whoever wrote it: signatures, arenas, operators, and what trains.

tinytl inspect model.tflite

An arena is what LiteRT plans for a signature with its builtin kernels (TFLite Micro, for its entry).
"""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from pathlib import Path

from absl import flags
from ai_edge_litert import schema_py_generated as schema

from tflite_export import checksum, flatbuffer
from tflite_export.arena import plan
from tflite_export.cli.failure import Failure, in_one_line
from tflite_export.cli.table import table
from tflite_export.flatbuffer.options import enum_names
from tflite_export.runtime.info import METADATA_NAME, heads_of, inputs_of, parse_info
from tflite_export.runtime.model_file import TFLITE_IDENTIFIER

OPERANDS = ("model.tflite",)
FLAGS = flags.FlagValues()
_KINDS, _TYPES = enum_names(schema.BuiltinOperator), enum_names(schema.TensorType)
_DAMAGE = (IndexError, KeyError, TypeError, AttributeError, UnicodeDecodeError, OverflowError, ValueError, struct.error)


@dataclasses.dataclass(frozen=True)
class Subgraph:
    """A signature, or a subgraph without one. Inputs and outputs are text, such as "x float32[1, 8]"."""

    name: str
    is_signature: bool
    inputs: list[str]
    outputs: list[str]
    operators: Counter


def run(path: str) -> None:
    content = Path(path).read_bytes()
    if content[4:8] != TFLITE_IDENTIFIER:
        raise Failure(f"{path} is not a .tflite file: the identifier TFL3 is missing at byte 4.")
    if checksum.is_intact(content) is False:
        raise Failure(f"{path} is truncated or damaged: its checksum does not agree. Copy it again.")
    try:
        subgraphs, metadata = read(content)
    except _DAMAGE as error:
        raise Failure(f"{path} is truncated or damaged ({type(error).__name__}: {error}). Copy it again.") from error
    arenas, reason = arena_bytes(content)
    print(f"{path}: {len(content):,} bytes\n")
    print(signatures(subgraphs, arenas))
    if reason:
        print(f"The arenas could not be planned: {reason}")
    print(f"\n{operators(subgraphs)}\n")
    if METADATA_NAME in metadata:
        print(training(parse_info(metadata[METADATA_NAME])))
    else:
        print(f"Nothing in it trains. `tinytl make-trainable {path} trainable.tflite` adds what does.")


def read(content: bytes) -> tuple[list[Subgraph], dict[str, bytes]]:
    """The subgraphs, and the metadata by name, straight from the schema: no operator is too unusual to be listed."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    named = {signature.subgraphIndex: signature for signature in model.signatureDefs or []}
    codes = [
        _text(code.customCode) if code.customCode else _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]
        for code in model.operatorCodes
    ]
    subgraphs = []
    for index, subgraph in enumerate(model.subgraphs):
        signature, tensors = named.get(index), subgraph.tensors
        name = _text(signature.signatureKey) if signature else _text(subgraph.name) or f"subgraph {index}"
        inputs, outputs = (
            [(_text(entry.name), tensors[entry.tensorIndex]) for entry in entries or []]
            if signature
            else [(_text(tensors[i].name), tensors[i]) for i in (() if entries is None else entries)]
            for entries in ((signature or subgraph).inputs, (signature or subgraph).outputs)
        )
        kinds = Counter(codes[operator.opcodeIndex] for operator in subgraph.operators or [])
        described = ([f"{name} {_described(tensor)}" for name, tensor in side] for side in (inputs, outputs))
        subgraphs.append(Subgraph(name, signature is not None, *described, kinds))
    buffers = {_text(entry.name): model.buffers[entry.buffer].data for entry in model.metadata or []}
    return subgraphs, {name: bytes(data) for name, data in buffers.items() if data is not None}


def arena_bytes(content: bytes) -> tuple[dict[str, int], str]:
    """By name of signature; or nothing, and why: the planner must know every operator's workspace."""
    try:
        program = flatbuffer.read(content)
        runtime = "micro" if [graph.name for graph in program.signatures] == ["step"] else "litert"
        return {graph.name: plan(graph, runtime, program.offsets).total_bytes for graph in program.signatures}, ""
    except (*_DAMAGE, NotImplementedError) as error:
        return {}, in_one_line(error)


def signatures(subgraphs: list[Subgraph], arenas: dict[str, int]) -> str:
    rows = []
    for subgraph in subgraphs:
        arena = f"{arenas[subgraph.name]:,}" if subgraph.name in arenas else ""
        kind = subgraph.name if subgraph.is_signature else f"({subgraph.name})"
        sides = [("in", text) for text in _few(subgraph.inputs)] + [("out", text) for text in _few(subgraph.outputs)]
        for first, (side, text) in enumerate(sides or [("", "")]):
            rows.append(("" if first else kind, side, text, "" if first else arena))
    return table(("signature", "", "", "arena, bytes"), rows, left=3)


def operators(subgraphs: list[Subgraph]) -> str:
    """How often each operator stands in each signature or subgraph."""
    kinds = sorted(set().union(*(subgraph.operators for subgraph in subgraphs)))
    rows = [(kind, *(str(subgraph.operators[kind] or "·") for subgraph in subgraphs)) for kind in kinds]
    total = ("all", *(str(subgraph.operators.total()) for subgraph in subgraphs))
    return table(("operator", *(subgraph.name for subgraph in subgraphs)), [*rows, total])


def training(info: dict) -> str:
    """What the file says of itself."""
    names = info["class_names"]
    spare = info["classes"] - len(names or ())
    classes = f"{info['classes']} outputs without names" if names is None else f"{', '.join(names)}; {spare} spare"
    settings = [f"{name} {value}" for name, value in info["optimizer"].items() if name != "name"]
    batch = f"{info['batch_size']}" + (f" in parts of {info['micro_batch']}" if info["micro_batch"] else "")
    facts = [
        ("classes", classes),
        *_of_each("input", inputs_of(info), _scaling),
        *_of_each("loss", heads_of(info), lambda head: head["loss"] or "none: it only infers"),
        ("optimizer", " ".join([info["optimizer"]["name"], *settings])),
        ("batch", batch),
        ("fingerprint", info["fingerprint"]),
    ]
    rows = [(entry["name"], f"{entry['dtype']}{entry['shape']}") for entry in info["trainables"]]
    return f"{table(('trains', ''), rows, left=2)}\n\n{table(('', ''), facts, left=2).strip()}"


def _of_each(what: str, parts: list[dict], describe) -> list[tuple[str, str]]:
    """A line for the only input or output, or one for each by name."""
    return [(what if len(parts) == 1 else f"{what} {part['name']}", describe(part)) for part in parts]


def _scaling(entry: dict) -> str:
    if entry["dtype"] != "float32":
        return f"{entry['dtype']}, as it is"
    return f"pixel * {entry['scale']:.6g} + {entry['offset']:.6g}"


def _described(tensor) -> str:
    shape = [] if tensor.shape is None or isinstance(tensor.shape, int) else tensor.shape
    return f"{_TYPES[tensor.type].lower()}[{', '.join(str(int(n)) for n in shape)}]"


def _few(lines: list[str], most: int = 4) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], f"… and {len(lines) - most + 1} more"]


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
