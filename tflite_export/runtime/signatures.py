"""The native interpreter behind the signatures of an exported file."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_export.runtime.mapped_pages import release_pages
from tflite_export.runtime.samples import Arrays

_KERNELS = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}

_REQUEST = np.zeros(1, np.float32)


class Signatures:
    """One interpreter, and with it one set of variables, which start with the file's factory values.

    The file is mapped, not read into memory. The arena of a signature is allocated when it first runs; but the first
    run of any makes XNNPACK pack the weights of all, so a process that only infers saves the arena of training and
    not its packed weights. That first run is done here. It also copies the initial values into the variables; the
    pages of both, which nobody reads again, then go back to the system.

    Args:
        path: The .tflite file, already checked. It must not be written to while this object lives; to replace the whole
            file by renaming, as `tflite_export.export` does, is safe.
        num_threads: Threads of the kernels; None is LiteRT's default.
        kernels: "xnnpack" or "builtin", those that the file was exported for.

    Raises:
        ValueError: If LiteRT refuses the file.
    """

    def __init__(self, path: str | os.PathLike, num_threads: int | None = None, kernels: str = "xnnpack"):
        self._runners = {}
        try:
            self._interpreter = Interpreter(
                model_path=os.fspath(path), num_threads=num_threads, experimental_op_resolver_type=_KERNELS[kernels]
            )
            self._runner("info")(request=_REQUEST)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"LiteRT cannot load {path}: {error}") from error
        release_pages(path)

    def _runner(self, name: str):
        if name not in self._runners:
            self._runners[name] = self._interpreter.get_signature_runner(name)
        return self._runners[name]

    @functools.cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Of one row of `output`, where the file has one output."""
        details = self._runner("infer").get_output_details()
        return tuple(map(int, details["output"]["shape"][1:])) if "output" in details else ()

    def _on(self, x: Arrays, name: str, **others: np.ndarray) -> dict[str, np.ndarray]:
        """What a signature returns on `x`.

        Raises:
            ValueError: If `x` holds an index that its table does not have. LiteRT finds that out in the forward pass,
                before any variable changes.
        """
        inputs = _named(x, "x")
        try:
            return self._runner(name)(**inputs, **others)
        except RuntimeError as error:
            failed = re.findall(r"\((\w+)\) failed to invoke", str(error))  # of earlier runs too
            if failed[-1:] not in (["GATHER"], ["EMBEDDING_LOOKUP"]):
                raise
            raise ValueError(_not_in_table(inputs)) from error

    def infer(self, x: Arrays) -> dict[str, np.ndarray]:
        """``output`` and ``logits``, both float32 [infer_batch, *output_shape], for x float32 [infer_batch, …].

        Of several inputs x is a dict by name, and so is what comes of several outputs.
        """
        return self._on(x, "infer")

    def train(self, x: Arrays, y: Arrays, learning_rate: float) -> dict[str, np.ndarray]:
        """One step: ``loss`` and ``correct``, the number of correct rows, both [1] and from before the update.

        x is float32 [batch, …]; y is int32 [batch] or float32 [batch, numbers in a row]. Dicts of such by name where
        there are several; ``correct`` and ``losses`` then have a value for every output that trains.
        """
        rate = np.array([learning_rate], np.float32)
        return self._on(x, "train", **_named(y, "y"), learning_rate=rate)

    def accumulate(self, x: Arrays, y: Arrays) -> dict[str, np.ndarray]:
        """Adds up the gradients of a micro-batch; takes and returns what `train` does, for [micro_batch, …]."""
        return self._on(x, "accumulate", **_named(y, "y"))

    def apply(self, learning_rate: float) -> bool:
        """Takes the step of all that was accumulated since the last one; False where it was not finite, or nothing."""
        result = self._runner("apply")(learning_rate=np.array([learning_rate], np.float32))
        return bool(result["applied"][0])

    def save(self) -> dict[str, np.ndarray]:
        """Every variable by name, those of the optimizer included."""
        return self._runner("save")(request=_REQUEST)

    def restore(self, variables: Mapping[str, np.ndarray]) -> None:
        """Overwrites every variable, and drops what was accumulated."""
        self._runner("restore")(**{name: np.ascontiguousarray(value) for name, value in variables.items()})

    def variables(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every variable, by name."""
        details = self._runner("restore").get_input_details()
        return {name: (tuple(map(int, d["shape"])), np.dtype(d["dtype"]).name) for name, d in details.items()}


def _named(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    return arrays if isinstance(arrays, dict) else {name: arrays}


def _not_in_table(inputs: Mapping[str, np.ndarray]) -> str:
    """The message about an index that is too large, or too far below 0. Those inputs may hold it that are integers."""
    integers = [(name, value) for name, value in inputs.items() if value.size and np.array_equal(value, value // 1)]
    found = ", ".join(f"{name} with {value.min():g} to {value.max():g}" for name, value in integers)
    return (
        "An index lies outside of the table that it is looked up in, such as a word that an Embedding's vocabulary "
        "does not have. Give indices from 0 to the number of the table's rows − 1 (input_dim − 1 of an Embedding). "
        f"Received: {found or ', '.join(inputs)}."
    )
