"""The native interpreter behind the five signatures of an exported file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert.interpreter import Interpreter

_REQUEST = np.zeros(1, np.float32)


class Signatures:
    """One interpreter, and with it one set of variables, which start with the file's factory values.

    A signature is allocated when it is first run, so a process that only infers never pays for training.

    Args:
        content: The .tflite file, already checked.
        num_threads: Threads of the kernels; None is LiteRT's default.

    Raises:
        ValueError: If LiteRT refuses the file.
    """

    def __init__(self, content: bytes, num_threads: int | None = None):
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=num_threads)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"LiteRT cannot load the model: {error}") from error
        self._runners = {}

    def _runner(self, name: str):
        if name not in self._runners:
            self._runners[name] = self._interpreter.get_signature_runner(name)
        return self._runners[name]

    def infer(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """`output` and `logits`, both float32 [infer_batch, classes], for x float32 [infer_batch, …]."""
        result = self._runner("infer")(x=x)
        return result["output"], result["logits"]

    def train(self, x: np.ndarray, y: np.ndarray, learning_rate: float) -> tuple[float, int]:
        """One step: loss and number of correct rows, both from before the update. x float32, y int32 [batch]."""
        result = self._runner("train")(x=x, y=y, learning_rate=np.array([learning_rate], np.float32))
        return float(result["loss"][0]), int(result["correct"][0])

    def save(self) -> dict[str, np.ndarray]:
        """Every variable by name."""
        return self._runner("save")(request=_REQUEST)

    def restore(self, variables: Mapping[str, np.ndarray]) -> None:
        """Overwrites every variable."""
        self._runner("restore")(**{name: np.ascontiguousarray(value) for name, value in variables.items()})

    def variables(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every variable, by name."""
        details = self._runner("restore").get_input_details()
        return {name: (tuple(map(int, d["shape"])), np.dtype(d["dtype"]).name) for name, d in details.items()}
