"""What the program's compiler takes of a model, wherever it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tflite_export.graph import Graph
from tflite_export.train_from import Layers


@dataclasses.dataclass(frozen=True, eq=False)
class Frontend:
    """A model as the program's compiler takes it.

    Attributes:
        name: what the program is called, if nobody says otherwise.
        canonical: the forward graph on one row, which reads everything that could train.
        layers: their names by layer, in forward order.
        branches: which of the layers are lite residual branches.
        frozen_weights: name and value of every weight that is none of the trained ones, for the fingerprint.
    """

    name: str
    canonical: Graph
    layers: Layers
    branches: Sequence[str]
    frozen_weights: Callable[[set[str]], list[tuple[str, np.ndarray]]]
