"""One .tflite file in LiteRT, with the kernel set that a measurement asks for and one thread."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

KERNELS = {"builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, "xnnpack": OpResolverType.AUTO}
_REQUEST = np.zeros(1, np.float32)


class Session:
    """A fresh interpreter, with the file's factory values.

    Args:
        source: content of a .tflite, or its path (which LiteRT maps into memory instead of copying it).
        kernels: "builtin" or "xnnpack".
    """

    def __init__(self, source: bytes | str, kernels: str):
        given = {"model_content": source} if isinstance(source, bytes) else {"model_path": source}
        self.interpreter = Interpreter(**given, experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
        self._runners = {}

    def _runner(self, signature: str | None):
        """The converter's inference files have one signature, which None stands for."""
        if signature is None:
            (signature,) = self.interpreter.get_signature_list()
        if signature not in self._runners:
            self._runners[signature] = self.interpreter.get_signature_runner(signature)
        return self._runners[signature]

    def run(self, signature: str | None, **inputs) -> dict[str, np.ndarray]:
        return self._runner(signature)(**inputs)

    def random_inputs(self, signature: str | None) -> dict[str, np.ndarray]:
        """Noise for images; zeros for vectors, which are labels and the learning rate."""
        rng = np.random.default_rng(0)
        return {
            name: np.asarray(rng.normal(size=d["shape"]) * (len(d["shape"]) > 1), d["dtype"])
            for name, d in self._runner(signature).get_input_details().items()
        }

    def addresses(self, signature: str, names: Iterable[str]) -> list[tuple[int, int]]:
        """Where the tensors `names` of `signature`, which has run, begin and end in memory.

        The public `Interpreter.tensor` knows the file's first subgraph only.
        """
        wrapper, addresses = self.interpreter._interpreter, []
        subgraph = wrapper.GetSubgraphIndexFromSignature(signature)
        index = {tensor["name"]: tensor["index"] for tensor in self.interpreter.get_tensor_details(subgraph)}
        for name in names:
            array = wrapper.tensor(self.interpreter, index[name], subgraph)
            start = array.__array_interface__["data"][0]
            addresses.append((start, start + array.nbytes))
        return addresses

    def train(self, x: np.ndarray, y: np.ndarray, learning_rate: float) -> float:
        """The loss of one step."""
        rate = np.array([learning_rate], np.float32)
        return float(self.run("train", x=x, y=y, learning_rate=rate)["loss"][0])

    def save(self) -> dict[str, np.ndarray]:
        return self.run("save", request=_REQUEST)

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.run("restore", **state)
