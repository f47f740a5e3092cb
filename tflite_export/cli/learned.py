"""A .tflite that trains, with what was learned beside it."""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags

from tflite_export.cli.failure import Failure, in_one_line
from tflite_export.runtime import OnDeviceModel

NONE = "none"


def define_state(values: flags.FlagValues, none: str = "") -> None:
    """Adds the flag --state; `none` says what the word none stands for, where it may be given."""
    flags.DEFINE_string("state", None, f"What was learned: model.safetensors unless given{none}.", flag_values=values)


def define_images(values: flags.FlagValues) -> None:
    """Adds the flags --crop and --num_threads."""
    flags.DEFINE_float(
        "crop",
        1.0,
        "Part of the image's central square that is kept; 0.875 is the paper's.",
        lower_bound=0.01,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_integer("num_threads", None, "Of the kernels.", lower_bound=1, flag_values=values)


def state_path(flag: str | None, model_path: str) -> Path:
    """Where what is learned is saved: beside the model, unless the flag names another file."""
    return Path(model_path).with_suffix(".safetensors") if flag is None else Path(flag)


def existing_state(flag: str | None, model_path: str) -> Path | None:
    """The state to use. None where nothing has been learned, or nothing is to be used.

    Raises:
        Failure: If the flag names a file that is not there.
    """
    if flag == NONE:
        return None
    path = state_path(flag, model_path)
    if path.exists():
        return path
    if flag is not None:
        raise Failure(f"there is no file {path}.")
    return None


def open_model(model_path: str, state: Path | None, num_threads: int | None) -> OnDeviceModel:
    """The model with what `state` holds.

    Raises:
        Failure: If the state is not this model's, or damaged and no good one stands beside it.
    """
    model = OnDeviceModel(model_path, num_threads=num_threads)
    if state is not None:
        try:
            model.restore(state)
        except ValueError as error:
            raise Failure(
                f"{state}: {in_one_line(error).removesuffix('.')}. To begin anew, name another file with --state."
            ) from error
    return model


def open_learned(flag: str | None, model_path: str, num_threads: int | None) -> OnDeviceModel:
    """The model with what it has learned; says on stderr what that is."""
    state = existing_state(flag, model_path)
    model = open_model(model_path, state, num_threads)
    note(f"{model_path} as exported" if state is None else f"{model_path} with {state}, {model.steps} steps")
    return model


def nothing_learned(model_path: str) -> Failure:
    return Failure(
        f"{model_path} has learned nothing: {state_path(None, model_path)} is not there. Name a state with --state."
    )


def note(line: str) -> None:
    print(line, file=sys.stderr)
