"""The trained variables on disk: a safetensors file that a power cut cannot leave half written."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from tflite_export import checksum
from tflite_export.atomic import write_atomically
from tflite_export.runtime.model_file import TFLITE_IDENTIFIER
from tflite_export.runtime.progress import Progress

FORMAT = "tinytl-state-1"


@dataclasses.dataclass(frozen=True)
class State:
    """Every variable by name, and what is needed to go on.

    Attributes:
        tensors: The variables, in Keras's values and layout.
        fingerprint: Of the exported file that they belong to.
        step: Training steps since the factory weights that changed something.
        class_names: Class names, those added on the device included; None if the file names none.
        progress: Where an unfinished `fit` stands; None if none is unfinished.
    """

    tensors: Mapping[str, np.ndarray]
    fingerprint: str
    step: int = 0
    class_names: list[str] | None = None
    progress: Progress | None = None


def write_state(path: str | os.PathLike, state: State) -> None:
    """Writes `state` to `path`: either the whole new file stands there afterwards, or what stood there before.

    Raises:
        OSError: If it cannot be written, for instance on a full disk.
        ValueError: If `path` is that of a .tflite file, by its name or by what stands there.
    """
    _check_destination(Path(path))
    metadata = {
        "format": FORMAT,
        "fingerprint": state.fingerprint,
        "step": str(state.step),
        "crc32": checksum.PLACEHOLDER.decode(),
        "class_names": json.dumps(state.class_names),
        "progress": json.dumps(None if state.progress is None else state.progress.as_json()),
    }
    content = safetensors.numpy.save({name: np.ascontiguousarray(t) for name, t in state.tensors.items()}, metadata)
    write_atomically(path, checksum.seal(content))


def _check_destination(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to save {path.name} in. Create it first.")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder. Name a file in it, like {path / 'state.safetensors'}.")
    if path.suffix.lower() == ".tflite" or _is_tflite(path):
        raise ValueError(
            f"{path} is a .tflite file, and save writes a safetensors file, which holds only what was learned. "
            f"Nothing was written. Name another file, like {path.with_suffix('.safetensors')}."
        )


def _is_tflite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(8)[4:] == TFLITE_IDENTIFIER


def read_state(path: str | os.PathLike) -> State:
    """Reads a file that `write_state` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, damaged, or not a state of ours.
    """
    path = Path(path)
    content = path.read_bytes()
    intact = checksum.is_intact(content)
    if intact is False:
        raise ValueError(f"{path} is truncated or damaged: its CRC-32 does not agree. Copy it again.")
    try:
        tensors = safetensors.numpy.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from error
    metadata = header.get("__metadata__", {})
    if metadata.get("format") != FORMAT or intact is None:
        raise ValueError(
            f"{path} is a safetensors file, but not a state that OnDeviceModel.save wrote: expected format "
            f"{FORMAT!r} and a CRC-32 in its metadata, found {metadata}"
        )
    try:
        return _parse(tensors, metadata)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} holds metadata that this runtime cannot use ({type(error).__name__}: {error}): {metadata}"
        ) from error


def _parse(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> State:
    step, class_names, progress = (json.loads(metadata[name]) for name in ("step", "class_names", "progress"))
    if type(step) is not int or step < 0:
        raise ValueError(f"step {step!r}")
    if class_names is not None and not (
        isinstance(class_names, list) and all(isinstance(name, str) for name in class_names)
    ):
        raise ValueError(f"class names {class_names!r}")
    progress = None if progress is None else Progress.from_json(progress)
    return State(tensors, metadata["fingerprint"], step, class_names, progress)


def check_belongs(state: State, expected: Mapping[str, tuple[tuple[int, ...], str]], fingerprint: str) -> None:
    """Refuses a state of another model, naming what differs.

    Args:
        state: What is to be restored.
        expected: Shape and dtype of every variable of the model, by name.
        fingerprint: Of the model.

    Raises:
        ValueError: If names (the optimizer's variables included), shapes, dtypes or the fingerprint differ.
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
        raise ValueError(f"The state belongs to another model or optimizer; nothing was restored.\n  {shown}")


def merged_class_names(of_file: list[str] | None, of_state: list[str] | None, outputs: int) -> list[str] | None:
    """The file's own names and, behind them, those that the state adds; None where the file names no classes.

    Raises:
        ValueError: If the two name a class differently, or name more classes than the model has outputs.
    """
    if of_file is None:
        return None
    of_state = of_state or []
    common = min(len(of_file), len(of_state))
    if of_file[:common] != of_state[:common] or len(of_state) > outputs:
        raise ValueError(
            f"The state names other classes; nothing was restored.\n  the file, with {outputs} outputs: {of_file}\n"
            f"  the state: {of_state}"
        )
    return of_file + of_state[common:]


def _spec(shape_and_dtype: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = shape_and_dtype
    return f"{dtype}{list(shape)}"
