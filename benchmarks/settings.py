"""What memory and speed are measured of: one network, trained in one way, and the files that belong to it."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from pathlib import Path

import keras
import networks

import tflite_export
from tflite_export import flatbuffer, lowering
from tflite_export.arena import plan
from tflite_export.graph import Program
from tflite_export.memory_budget import BudgetTooSmall

SMALLEST = "smallest"


@dataclasses.dataclass(frozen=True)
class Setting:
    """A network and the options that it is converted and exported with; SGD.

    Attributes:
        network: see networks.py.
        budget: `memory_budget` as a multiple of the stock inference file's arena, or `SMALLEST`: the least that the
            compiler accepts.
    """

    network: str
    method: str
    kernels: str = "builtin"
    batch_size: int = 1
    micro_batch: int | None = None
    budget: float | str | None = None
    train_from: float | None = None
    classes: int = networks.CLASSES

    def __str__(self) -> str:
        parts = [self.network, self.method, self.kernels, f"batch={self.batch_label}", f"budget={self.budget}"]
        parts += [f"train_from={self.train_from}"] if self.train_from else []
        return " ".join(parts)

    @property
    def batch_label(self) -> str:
        return f"{self.batch_size}/{self.micro_batch}" if self.micro_batch else str(self.batch_size)

    @property
    def step(self) -> Counter:
        """The signatures of one training step, and how often each runs."""
        if self.micro_batch is None:
            return Counter(train=1)
        return Counter(accumulate=self.batch_size // self.micro_batch, apply=1)

    def model(self) -> keras.Model:
        return _model(self.network, self.method, self.classes)

    def stock_file(self, folder: Path, batch_size: int) -> Path:
        """What TensorFlow's own converter makes of the network for inference."""
        path = folder / f"inference {self} {batch_size}.tflite".replace("/", "by")
        path.write_bytes(lowering.stock_inference_file(self.model(), batch_size))
        return path

    def options(self) -> dict:
        """Those of `export`, but for the defaults."""
        given = {
            "batch_size": self.batch_size,
            "micro_batch": self.micro_batch,
            "kernels": self.kernels,
            "train_from": self.train_from,
            "memory_budget": self._memory_budget(),
        }
        return {name: value for name, value in given.items() if value is not None}

    def export(self, path: Path) -> tuple[tflite_export.ExportReport, dict]:
        """What `export` reports, and the options that it got."""
        options = self.options()
        return tflite_export.export(self.model(), path, **options, verify=False), options

    def _memory_budget(self) -> int | None:
        if self.budget is None:
            return None
        if self.budget == SMALLEST:
            return _smallest_budget(dataclasses.replace(self, budget=None))
        stock = lowering.stock_inference_file(self.model(), self.micro_batch or self.batch_size)
        return int(self.budget * plan(flatbuffer.read(stock).signatures[0]).total_bytes)


@functools.lru_cache(maxsize=2)
def _model(network: str, method: str, classes: int) -> keras.Model:
    return networks.build(network, method, classes=classes)


@functools.cache
def _smallest_budget(setting: Setting) -> int:
    """What the compiler says that it needs, when it is given one byte."""
    try:
        tflite_export.export(setting.model(), Path("never.tflite"), **setting.options(), memory_budget=1, verify=False)
    except BudgetTooSmall as error:
        return error.needed
    raise RuntimeError(f"{setting}: one byte was enough")


def only(path: Path, signature: str) -> bytes:
    """The file at `path` without its other signatures."""
    program = flatbuffer.read(path)
    graphs = tuple(graph for graph in program.signatures if graph.name == signature)
    return flatbuffer.write(Program(graphs, program.metadata))
