"""One exported file in LiteRT, with the kernel set and the number of threads that a measurement asks for."""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KERNELS = {"builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "xnnpack": OpResolverType.AUTO}
_REQUEST = np.zeros(1, np.float32)


class Session:
    """A fresh interpreter: the file's factory values, one thread.

    Args:
        source: content of a .tflite, or its path (which LiteRT maps into memory instead of copying it).
        kernels: "builtin" or "xnnpack".
    """

    def __init__(self, source: bytes | str, kernels: str):
        given = {"model_content": source} if isinstance(source, bytes) else {"model_path": source}
        resolver = KERNELS[kernels]
        self._interpreter = Interpreter(**given, experimental_op_resolver_type=resolver, num_threads=1)
        self._runners = {}

    def run(self, signature: str, **inputs) -> dict[str, np.ndarray]:
        if signature not in self._runners:
            self._runners[signature] = self._interpreter.get_signature_runner(signature)
        return self._runners[signature](**inputs)

    def train(self, x: np.ndarray, y: np.ndarray, learning_rate: float) -> float:
        """The loss of one step."""
        rate = np.array([learning_rate], np.float32)
        return float(self.run("train", x=x, y=y, learning_rate=rate)["loss"][0])

    def save(self) -> dict[str, np.ndarray]:
        return self.run("save", request=_REQUEST)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.run("restore", **state)
