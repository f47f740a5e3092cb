"""The options of `export` that say what is compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What `export` documents, but for the path and `verify`. `validation.checked` brings it into its final form."""

    batch_size: int = 1
    micro_batch: int | None = None
    infer_batch_size: int = 1
    optimizer: object = "sgd"
    loss: object = "sparse_categorical_crossentropy"
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    class_names: Sequence[str] | None = None
    input_scale: object = 1.0
    input_offset: object = 0.0
    runtime: str = "litert"
    kernels: str | None = None
    train_from: str | float | None = None
    memory_budget: int | str | None = None
    loss_weights: object = None
    activation_gradients: str = "exact"
    frozen: str = "float32"

    @property
    def accumulates(self) -> bool:
        """Whether a training step is ``accumulate`` and ``apply`` instead of ``train``."""
        return self.micro_batch is not None or self.clip_norm is not None

    @property
    def rows(self) -> int:
        """How many rows go through the network at once in a training step."""
        return self.batch_size if self.micro_batch is None else self.micro_batch

    @property
    def splits(self) -> bool:
        """Whether a training step is made of several micro-batches."""
        return self.rows < self.batch_size

    @property
    def sizes(self) -> set[int]:
        """The batch sizes to look at the network at: those of training and ``infer``, and two where a batch splits."""
        sizes = {self.rows, self.infer_batch_size}
        return sizes | {2} if self.splits and sizes == {1} else sizes

    @property
    def form(self) -> str:
        """What graphs are compiled to: LiteRT's kernel set "xnnpack" (its default) or "builtin"; for TFLite Micro
        "micro", or "tinytl" with our custom operators."""
        if self.runtime == "micro":
            return "tinytl" if self.kernels == "tinytl" else "micro"
        return self.kernels or "xnnpack"
