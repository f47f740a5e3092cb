"""Opens an exported file and checks it in Python: the native interpreter may crash the process on a damaged one."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from tflite_export import checksum
from tflite_export.files import read_file
from tflite_export.runtime.info import METADATA_NAME, parse_info

TFLITE_IDENTIFIER = b"TFL3"  # at byte 4
SIGNATURES = ("infer", "save", "restore", "info")
TRAINING = (("train",), ("accumulate", "apply"))  # one of these beside them


def open_model(path: str | os.PathLike) -> dict:
    """The info of an exported file whose every byte has been checked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not a .tflite file that `tflite_export.export` wrote for training.
    """
    path = Path(path)
    content = read_file(path, "a .tflite file that trains", "tflite_export.export (`tinytl export`) writes one.")
    if content[4:8] != TFLITE_IDENTIFIER:
        raise ValueError(
            f"{path} is not a .tflite file: expected the identifier TFL3 at byte 4, found {content[4:8]!r}"
        )
    intact = checksum.is_intact(content)
    if intact is False:
        raise ValueError(f"{path} is truncated or damaged: its checksum does not agree. Copy it again.")
    try:
        signatures, metadata = _names_and_metadata(content)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is truncated or damaged ({type(error).__name__}: {error}). Copy it again.") from error
    training = TRAINING[1] if signatures.intersection(TRAINING[1]) else TRAINING[0]
    if missing := [name for name in (*training, *SIGNATURES) if name not in signatures]:
        raise ValueError(
            f"{path} is a .tflite file, but not one that can be trained: it lacks the signatures {missing}, and has "
            f"{sorted(signatures)}. Write it with tflite_export.export(model, path), or add a training step to it by "
            f"tflite_export.make_trainable (`tinytl make-trainable`)."
        )
    if METADATA_NAME not in metadata or intact is None:
        lacking = "a checksum" if METADATA_NAME in metadata else f"the metadata {METADATA_NAME!r}"
        raise ValueError(f"{path} lacks {lacking}. Write it with tflite_export.export(model, path).")
    try:
        return parse_info(metadata[METADATA_NAME])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _names_and_metadata(content: bytes) -> tuple[set[str], dict[str, bytes]]:
    """The signatures' names, and the metadata by name."""
    model = schema.Model.GetRootAs(content, 0)
    signatures = [model.SignatureDefs(i).SignatureKey() for i in range(model.SignatureDefsLength())]
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    metadata = {entry.Name().decode(): model.Buffers(entry.Buffer()) for entry in entries}
    present = {name: buffer.DataAsNumpy().tobytes() for name, buffer in metadata.items() if buffer.DataLength()}
    return {name.decode() for name in signatures}, present
