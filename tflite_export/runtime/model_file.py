"""Opens an exported file and checks it in Python: the native interpreter may crash the process on a damaged one."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tflite_export.runtime.info import METADATA_NAME, parse_info

SIGNATURES = ("infer", "train", "save", "restore", "info")


def open_model(path: str | os.PathLike) -> tuple[bytes, dict]:
    """The content of an exported file, and its info.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a complete .tflite file, or not one that `tflite_export.export` wrote for training.
    """
    path = Path(path)
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(
            f"{path} is not a .tflite file: expected the identifier TFL3 at byte 4, found {content[4:8]!r}"
        )
    try:
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        _check_indices(model)
        names = {_text(signature.signatureKey) for signature in model.signatureDefs or ()}
        metadata = {_text(entry.name): model.buffers[entry.buffer].data for entry in model.metadata or ()}
    except (struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is truncated or damaged ({type(error).__name__}: {error}); copy it again.") from error
    if missing := [name for name in SIGNATURES if name not in names]:
        raise ValueError(
            f"{path} is a .tflite file, but not one that can be trained: it lacks the signatures {missing}, and has "
            f"{sorted(names)}. Write it with tflite_export.export(model, path)."
        )
    if metadata.get(METADATA_NAME) is None:
        raise ValueError(
            f"{path} lacks the metadata {METADATA_NAME!r}. Write it with tflite_export.export(model, path)."
        )
    try:
        return content, parse_info(bytes(metadata[METADATA_NAME]))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_indices(model: schema.ModelT) -> None:
    """Raises IndexError where one table of the file points to an entry of another that does not exist."""
    subgraphs = model.subgraphs or ()
    for subgraph in subgraphs:
        tensors = len(subgraph.tensors)
        for tensor in subgraph.tensors:
            _check_index(tensor.buffer, len(model.buffers), "buffer")
        for index in (*_vector(subgraph.inputs), *_vector(subgraph.outputs)):
            _check_index(index, tensors, "tensor")
        for operator in subgraph.operators or ():
            _check_index(operator.opcodeIndex, len(model.operatorCodes), "operator code")
            for index in (*_vector(operator.inputs), *_vector(operator.outputs)):
                if index != -1:  # an optional input that is left out
                    _check_index(index, tensors, "tensor")
    for signature in model.signatureDefs or ():
        _check_index(signature.subgraphIndex, len(subgraphs), "subgraph")
        tensors = len(subgraphs[signature.subgraphIndex].tensors)
        for entry in (*_vector(signature.inputs), *_vector(signature.outputs)):
            _check_index(entry.tensorIndex, tensors, "tensor")


def _check_index(index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise IndexError(f"{what} {index} of {count}")


def _vector(values) -> tuple:
    """A vector that may be absent: the schema's object API has None, or 0, in its place."""
    return () if values is None or isinstance(values, int) else tuple(values)


def _text(value: bytes | None) -> str:
    return value.decode() if value is not None else ""
