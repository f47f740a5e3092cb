"""Bytes that are no flatbuffer, and flatbuffers that would take memory or time without bound."""

from __future__ import annotations

import struct
import time
import tracemalloc

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.tflite_export.flatbuffer.test_checks import good
from tflite_export import flatbuffer
from tflite_export.flatbuffer import structure
from tflite_export.flatbuffer.structure import check_structure


@pytest.fixture(scope="module")
def content() -> bytes:
    return flatbuffer.write(good())


def test_tables_are_those_of_the_schema():
    for name, fields in structure._TABLES.items():
        deprecated = name == "SignatureDef"  # the object API leaves deprecated fields out
        assert len(fields) == len(vars(getattr(schema, f"{name}T")())) + deprecated, name


def test_options_with_parts_are_described():
    for name in structure._OPTIONS.values():
        if name != "NONE" and name not in structure._TABLES:
            fields = vars(getattr(schema, f"{name}T")()).values()
            assert all(isinstance(value, (bool, int, float)) for value in fields), name


@pytest.mark.parametrize("keep", [0, 4, 7, 8, 40, 0.5, 0.9])
def test_truncated(content, keep):
    cut = content[: keep if isinstance(keep, int) else int(len(content) * keep)]
    with pytest.raises(ValueError, match="TFLite file"):
        check_structure(cut)


def test_every_offset_that_leaves_the_file_is_refused(content):
    """Each aligned word in turn made an offset over the end: whatever reads it as an offset must notice."""
    refused = 0
    for at in range(8, len(content), 12):
        damaged = content[:at] + struct.pack("<I", 0x7FFFFFF0) + content[at + 4 :]
        try:
            check_structure(damaged)
        except ValueError:
            refused += 1
            continue
        schema.ModelT.InitFromPackedBuf(damaged, 0)  # what passes can be unpacked
    assert refused > 60


def test_a_number_that_reaches_over_the_end(content):
    """Options of an operator moved to the end of the file, where less is left than their first number takes."""
    content = bytearray(content + bytes(-len(content) % 4))
    operator = schema.Model.GetRootAs(content, 0).Subgraphs(0).Operators(0)
    kind, options = (operator._tab.Pos + operator._tab.Offset(field) for field in (10, 12))
    vtable, table = len(content), len(content) + 8
    content += struct.pack("<HHHH", 6, 8, 7, 0) + struct.pack("<i", table - vtable) + bytes(4)
    content[kind] = schema.BuiltinOptions.GatherOptions  # begin with an int32
    struct.pack_into("<I", content, options, table - options)
    with pytest.raises(ValueError, match="truncated or damaged"):
        flatbuffer.read(bytes(content))


def shared(entries: int) -> bytes:
    """A file in which `entries` subgraphs are one table that has a tensor table `entries` times."""
    b = flatbuffers.Builder(1 << 16)
    schema.TensorStart(b)
    tensor = schema.TensorEnd(b)
    schema.SubGraphStartTensorsVector(b, entries)
    for _ in range(entries):
        b.PrependUOffsetTRelative(tensor)
    tensors = b.EndVector()
    schema.SubGraphStart(b)
    schema.SubGraphAddTensors(b, tensors)
    subgraph = schema.SubGraphEnd(b)
    schema.ModelStartSubgraphsVector(b, entries)
    for _ in range(entries):
        b.PrependUOffsetTRelative(subgraph)
    subgraphs = b.EndVector()
    schema.ModelStart(b)
    schema.ModelAddVersion(b, 3)
    schema.ModelAddSubgraphs(b, subgraphs)
    b.Finish(schema.ModelEnd(b), b"TFL3")
    return bytes(b.Output())


def many_tensors(count: int) -> bytes:
    """As many tensors as fit, all of one buffer, the dearest that a file can have by its size."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.zeros(16384, np.uint8)
    subgraph = schema.SubGraphT()
    subgraph.tensors = []
    for _ in range(count):
        tensor = schema.TensorT()
        tensor.shape, tensor.buffer, tensor.type = np.array([16384], np.int32), 1, schema.TensorType.UINT8
        subgraph.tensors.append(tensor)
    model.subgraphs = [subgraph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def filled(size: int) -> bytes:
    """A variable whose initial value FILL makes, `size` bytes of them, in a small file."""
    from tflite_export.builder import Builder
    from tflite_export.graph import Graph, Program, Tensor, Variable

    variable = Variable("zeros", np.zeros(size // 4, np.float32))
    b = Builder("tell")
    value = b.read(variable)
    return flatbuffer.write(Program((Graph("tell", {"request": Tensor("request", (1,))}, {"v": value}, tuple(b.ops)),)))


@pytest.mark.parametrize(
    ("bomb", "message"),
    [(shared(7000), "is shared"), (many_tensors(800), None), (filled(1 << 28), "initial values of 268435456 bytes")],
    ids=["shared tables", "many tensors", "filled"],
)
def test_bombs(bomb, message):
    assert len(bomb) <= 65536
    tracemalloc.start()
    start = time.perf_counter()
    try:
        flatbuffer.read(bomb)
        refused = None
    except ValueError as error:
        refused = str(error)
    seconds, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (message is None and refused is None) or message in refused
    assert peak < 100 * len(bomb) or peak < 1 << 20
    assert seconds < 2  # tracing takes most of it
