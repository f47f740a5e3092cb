"""The native interpreter behind the signatures of an exported file."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_export.runtime.file_pages import release_pages
from tflite_export.runtime.samples import Arrays

_REQUEST = np.zeros(1, np.float32)
_RESOLVERS = {"xnnpack": OpResolverType.AUTO, "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


class Signatures:
    """One interpreter, and with it one set of variables, which start with the file's factory values.

    The file is mapped, not read into memory, and once the variables have their initial values its pages are let go
    (`release_pages`); those that are needed come back. The arena of a signature is allocated when it first runs; but
    the first run of any makes XNNPACK pack the weights of all, so a process that only infers saves the arena of
    training and not its packed weights.

    Args:
        path: The .tflite file, already checked. It must not be written to while this object lives; to replace the whole
            file by renaming, as `tflite_export.export` does, is safe.
        num_threads: Threads of the kernels; None is LiteRT's default.
        kernels: "xnnpack", LiteRT's default, or "builtin": without that delegate.

    Raises:
        ValueError: If LiteRT refuses the file, or `kernels` is neither.
    """

    def __init__(self, path: str | os.PathLike, num_threads: int | None = None, kernels: str = "xnnpack"):
        if kernels not in _RESOLVERS:
            raise ValueError(f"`kernels` must be one of {', '.join(_RESOLVERS)}. Received: kernels={kernels!r}")
        self._path = path
        try:
            self._interpreter = Interpreter(
                model_path=os.fspath(path),
                num_threads=num_threads,
                experimental_op_resolver_type=_RESOLVERS[kernels],
            )
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"LiteRT cannot load {path}: {error}") from error
        self._runners = {}

    def _runner(self, name: str):
        if not self._runners:  # before an arena is touched
            self._runners["info"] = self._interpreter.get_signature_runner("info")
            self._runners["info"](request=_REQUEST)
            release_pages(self._path)
        if name not in self._runners:
            self._runners[name] = self._interpreter.get_signature_runner(name)
        return self._runners[name]

    @functools.cached_property
    def output_shape(self) -> tuple[int, ...]:
        """Of one row of `output`, where the file has one output."""
        details = self._runner("infer").get_output_details()
        return tuple(map(int, details["output"]["shape"][1:])) if "output" in details else ()

    def infer(self, x: Arrays) -> dict[str, np.ndarray]:
        """``output`` and ``logits``, both float32 [infer_batch, *output_shape], for x float32 [infer_batch, …].

        Of several inputs x is a dict by name, and so is what comes of several outputs.
        """
        return self._runner("infer")(**_named(x, "x"))

    def train(self, x: Arrays, y: Arrays, learning_rate: float) -> dict[str, np.ndarray]:
        """One step: ``loss`` and ``correct``, the number of correct rows, both [1] and from before the update.

        x is float32 [batch, …]; y is int32 [batch] or float32 [batch, numbers in a row]. Dicts of such by name where
        there are several; ``correct`` and ``losses`` then have a value for every output that trains.
        """
        rate = np.array([learning_rate], np.float32)
        return self._runner("train")(**_named(x, "x"), **_named(y, "y"), learning_rate=rate)

    def accumulate(self, x: Arrays, y: Arrays) -> dict[str, np.ndarray]:
        """Adds up the gradients of a micro-batch; takes and returns what `train` does, for [micro_batch, …]."""
        return self._runner("accumulate")(**_named(x, "x"), **_named(y, "y"))

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
