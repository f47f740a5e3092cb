"""The trained variables on disk: a safetensors file that a power cut cannot leave half written."""

from __future__ import annotations

import dataclasses
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from tflite_export.atomic import write_atomically

FORMAT = "tinytl-state-1"


@dataclasses.dataclass(frozen=True)
class State:
    """Every variable by name, and what is needed to go on.

    Attributes:
        tensors: The variables, in Keras's values and layout.
        fingerprint: Of the exported file that they belong to.
        step: Training steps taken since the factory weights.
        class_names: Class names, those added on the device included; None if the file names none.
        progress: Where an unfinished `fit` stands (seed, shuffle, epoch, position, …); None if none is unfinished.
    """

    tensors: Mapping[str, np.ndarray]
    fingerprint: str
    step: int = 0
    class_names: list[str] | None = None
    progress: dict | None = None


def checksum(tensors: Mapping[str, np.ndarray]) -> str:
    """CRC-32 over names, dtypes, shapes and values in order of name, as eight hexadecimal digits."""
    crc = 0
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        crc = zlib.crc32(f"{name}:{tensor.dtype.name}:{tensor.shape}".encode(), crc)
        crc = zlib.crc32(tensor.tobytes(), crc)
    return f"{crc:08x}"


def write_state(path: str | os.PathLike, state: State) -> None:
    """Writes `state` to `path`: either the whole new file stands there afterwards, or what stood there before.

    Raises:
        OSError: If it cannot be written, for instance on a full disk.
    """
    metadata = {
        "format": FORMAT,
        "fingerprint": state.fingerprint,
        "step": str(state.step),
        "crc32": checksum(state.tensors),
        "class_names": json.dumps(state.class_names),
        "progress": json.dumps(state.progress),
    }
    content = safetensors.numpy.save({name: np.ascontiguousarray(t) for name, t in state.tensors.items()}, metadata)
    write_atomically(path, content)


def read_state(path: str | os.PathLike) -> State:
    """Reads a file that `write_state` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, damaged, or not a state of ours.
    """
    path = Path(path)
    content = path.read_bytes()
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    metadata = header.get("__metadata__", {})
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but not a state that OnDeviceModel.save wrote: expected format "
            f"{FORMAT!r} in its metadata, found {metadata.get('format')!r}"
        )
    if (found := checksum(tensors)) != metadata["crc32"]:
        raise ValueError(f"{path} is damaged: its tensors have CRC-32 {found}, and {metadata['crc32']} was written.")
    return State(
        tensors=tensors,
        fingerprint=metadata["fingerprint"],
        step=int(metadata["step"]),
        class_names=json.loads(metadata["class_names"]),
        progress=json.loads(metadata["progress"]),
    )


def check_belongs(state: State, expected: Mapping[str, tuple[tuple[int, ...], str]], fingerprint: str) -> None:
    """Refuses a state of another model, naming what differs.

    Args:
        state: What is to be restored.
        expected: Shape and dtype of every variable of the model, by name.
        fingerprint: Of the model.

    Raises:
        ValueError: If names, shapes, dtypes or the fingerprint differ.
    """
    found = {name: (tuple(tensor.shape), tensor.dtype.name) for name, tensor in state.tensors.items()}
    differences = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    differences += [f"unknown: {name}" for name in sorted(found.keys() - expected.keys())]
    differences += [
        f"{name}: expected {_spec(expected[name])}, found {_spec(found[name])}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    if not differences and state.fingerprint != fingerprint:
        differences.append(
            f"names and shapes agree, but the frozen weights are others: the state was saved from export "
            f"{state.fingerprint}, this file is export {fingerprint}"
        )
    if differences:
        rest = len(differences) - 8
        shown = "\n  ".join(differences[:8] + ([f"… and {rest} more"] if rest > 0 else []))
        raise ValueError(f"The state belongs to another model; nothing was restored.\n  {shown}")


def _spec(shape_and_dtype: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = shape_and_dtype
    return f"{dtype}{list(shape)}"
