"""The trained variables on disk: a safetensors file that a power cut cannot leave half written."""

from __future__ import annotations

import contextlib
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
from tflite_export.files import read_file
from tflite_export.runtime import checks
from tflite_export.runtime.model_file import TFLITE_IDENTIFIER
from tflite_export.runtime.progress import Progress

FORMAT = "tinytl-state-1"
_BEST = "@best/"  # before the names of the best epoch's variables


@dataclasses.dataclass(frozen=True)
class State:
    """Every variable by name, and what is needed to go on.

    Attributes:
        tensors: The variables, in Keras's values and layout.
        fingerprint: Of the exported file that they belong to.
        step: Training steps since the factory weights that changed something.
        class_names: Class names, those added on the device included; None if the file names none.
        progress: Where an unfinished `fit` stands; None if none is unfinished.
        best: Every variable as it was after ``progress.best.epoch``, for an unfinished `fit` that is to restore it.
    """

    tensors: Mapping[str, np.ndarray]
    fingerprint: str
    step: int = 0
    class_names: list[str] | None = None
    progress: Progress | None = None
    best: Mapping[str, np.ndarray] | None = None


def write_state(path: str | os.PathLike, state: State, keep: int = 1) -> None:
    """Writes `state` to `path`: either the whole new file stands there afterwards, or what stood there before.

    Args:
        path: Of the file.
        state: What is written.
        keep: How many states stand on the disk afterwards. With 3, those that were at `path` before the last two
            writes stand beside it: "state.1.safetensors" is the one before, "state.2.safetensors" the one before that.

    Raises:
        OSError: If it cannot be written, for instance on a full disk.
        ValueError: If `path` is that of a .tflite file, by its name or by what stands there.
    """
    path = Path(path)
    _check_destination(path)
    metadata = {
        "format": FORMAT,
        "fingerprint": state.fingerprint,
        "step": str(state.step),
        "crc32": checksum.PLACEHOLDER.decode(),
        "class_names": json.dumps(state.class_names),
        "progress": json.dumps(None if state.progress is None else state.progress.as_json()),
    }
    best = {_BEST + name: tensor for name, tensor in (state.best or {}).items()}
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in {**state.tensors, **best}.items()}
    content = checksum.seal(safetensors.numpy.save(tensors, metadata))
    _keep_former(path, checks.whole_number(keep, "keep", 1))
    write_atomically(path, content)


def _keep_former(path: Path, keep: int) -> None:
    """Copies what stands at `path` beside it. There is never a moment without a good state at `path`."""
    if keep == 1 or not path.exists() or not checksum.is_intact(content := path.read_bytes()):
        return  # a damaged one must not push out a good one
    for age in range(keep - 1, 1, -1):
        with contextlib.suppress(FileNotFoundError):  # so many there are not yet
            os.replace(former_path(path, age - 1), former_path(path, age))
    write_atomically(former_path(path, 1), content)


def former_path(path: str | os.PathLike, age: int) -> Path:
    """Where the state that stood at `path` before the last `age` writes is kept: "state.1.safetensors"."""
    path = Path(path)
    return path.with_name(f"{path.stem}.{age}{path.suffix}")


def read_latest_state(path: str | os.PathLike) -> tuple[State, str | None]:
    """The state at `path`, or if that is damaged, the newest good one of those that `write_state` kept beside it.

    Returns:
        The state, and None; or, if it is a former one, a sentence that says which file is damaged and which was taken.

    Raises:
        FileNotFoundError: If there is no file `path`.
        ValueError: If no state there is a good one.
    """
    try:
        return read_state(path), None
    except ValueError as error:
        damage = error
    age = 1
    while (former := former_path(path, age)).exists() or former_path(path, age + 1).exists():
        try:
            state = read_state(former)
        except (ValueError, FileNotFoundError):  # damaged too; missing, where a write was cut between two renames
            age += 1
        else:
            return state, f"{damage} Taken instead: {former}, of step {state.step}."
    raise damage


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
    content = read_file(path, "what a model has learned", "OnDeviceModel.save and `tinytl train` write it.")
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
    best = {name.removeprefix(_BEST): tensor for name, tensor in tensors.items() if name.startswith(_BEST)}
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(_BEST)}
    if bool(best) != bool(progress and progress.best):
        raise ValueError("the variables of the best epoch, or which one that is, is missing")
    return State(tensors, metadata["fingerprint"], step, class_names, progress, best or None)


def check_belongs(state: State, expected: Mapping[str, tuple[tuple[int, ...], str]], fingerprint: str) -> None:
    """Refuses a state of another model, naming what differs.

    Args:
        state: What is to be restored.
        expected: Shape and dtype of every variable of the model, by name.
        fingerprint: Of the model.

    Raises:
        ValueError: If names (the optimizer's variables included), shapes, dtypes or the fingerprint differ.
    """
    found = _specs(state.tensors)
    differences = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    differences += [f"unknown: {name}" for name in sorted(found.keys() - expected.keys())]
    differences += [
        f"{name}: expected {_spec(expected[name])}, found {_spec(found[name])}"
        for name in sorted(expected.keys() & found.keys())
        if expected[name] != found[name]
    ]
    if not differences and state.best is not None and _specs(state.best) != found:
        differences.append("the variables of the best epoch have other names or shapes than the others")
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


def _specs(tensors: Mapping[str, np.ndarray]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {name: (tuple(tensor.shape), tensor.dtype.name) for name, tensor in tensors.items()}


def _spec(shape_and_dtype: tuple[tuple[int, ...], str]) -> str:
    shape, dtype = shape_and_dtype
    return f"{dtype}{list(shape)}"
