"""What `memory_report` returns: plain data, a table, JSON and a plot."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

STORED, WORKING, WORKSPACE = "stored", "working", "workspace"
ROLES = (STORED, WORKING, WORKSPACE)
"""Why bytes are live: written before the backward pass and read in it; other maps; a kernel's own temporaries."""


@dataclass(frozen=True)
class LayerMemory:
    """What one layer costs, at the report's batch size. In the paper's accounting the layers of a branch stand alone.

    Attributes:
        name: The layer; in a model or branch, `outer/layer`.
        block: The block that it belongs to; "" for none.
        forward_bytes: What it writes in the forward pass.
        stored_bytes: What of that, or of its inputs, is stored for the backward pass.
        reach_bytes: What it and all layers behind it store together: the least that training from here on takes.
        peak_bytes: The most that is live at once while it runs, forward or backward.
    """

    name: str
    block: str
    forward_bytes: int
    stored_bytes: int
    reach_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Moment:
    """What is live, in bytes, while one operator (in the paper's accounting: one layer) runs."""

    layer: str
    operator: str
    stored_bytes: int
    working_bytes: int
    workspace_bytes: int

    @property
    def live_bytes(self) -> int:
        """All of it."""
        return self.stored_bytes + self.working_bytes + self.workspace_bytes


@dataclass(frozen=True)
class LiveTensor:
    """A tensor that is live at the peak.

    Attributes:
        layer: The layer that made it, or "input".
        shape: With the batch axis; of workspace, its bytes.
        dtype: As numpy says it.
        nbytes: What it takes, which for a mask of one bit a value is less than the whole.
        role: One of `ROLES`.
        backward: Whether the backward pass made it.
    """

    layer: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    role: str
    backward: bool = False

    @property
    def label(self) -> str:
        """The layer, and that it is a gradient or workspace."""
        if self.role == WORKSPACE:
            return f"{self.layer}: workspace"
        return f"{self.layer}: gradient" if self.backward else self.layer


@dataclass(frozen=True)
class LiveParts:
    """What is live at the peak under one label and for one reason: a tensor, or a map in parts of its channels."""

    label: str
    role: str
    tensors: tuple[LiveTensor, ...]

    @property
    def name(self) -> str:
        """The label, and in how many parts it is, if not in one."""
        return self.label if len(self.tensors) == 1 else f"{self.label}, {len(self.tensors)} parts"

    @property
    def nbytes(self) -> int:
        """Of all parts."""
        return sum(tensor.nbytes for tensor in self.tensors)

    @property
    def only(self) -> LiveTensor | None:
        """The tensor, where it is one."""
        return self.tensors[0] if len(self.tensors) == 1 else None


@dataclass(frozen=True)
class MemoryReport:
    """The memory of a training step; `str()` is a table of at most 90 columns.

    Attributes:
        model: The model's name.
        accounting: `"compiled"` or `"paper"`.
        batch_size: Samples in a step.
        total_bytes: What a step needs: the sum of `parts`.
        parts: What it is made of: (name, bytes).
        parameter_bytes: Of all weights, trainable and frozen, without the optimizer's.
        peak_activation_bytes: Of one sample: the most that is live at once, by the samples that run together.
        trainable_parameters, frozen_parameters: Numbers of values, stored statistics among the frozen.
        layers: One `LayerMemory` for each layer that has a cost, in forward order.
        moments: The step in time, operator by operator; with micro-batches that of `accumulate`, then that of `apply`.
        forward_moments: How many of `moments` come before the backward pass.
        peak_tensors: What is live at the moment of the most live bytes, largest first.
        arena_bytes: What the runtime plans for all of `moments`; None in the paper's accounting.
        inference_arena_bytes: The same for the stock converter's inference file at the same batch size, or None.
    """

    model: str
    accounting: str
    batch_size: int
    total_bytes: int
    parts: tuple[tuple[str, int], ...]
    parameter_bytes: int
    peak_activation_bytes: int
    trainable_parameters: int
    frozen_parameters: int
    layers: tuple[LayerMemory, ...]
    moments: tuple[Moment, ...]
    forward_moments: int
    peak_tensors: tuple[LiveTensor, ...]
    arena_bytes: int | None = None
    inference_arena_bytes: int | None = None

    @property
    def peak_index(self) -> int:
        """Which of `moments` has the most live bytes, the first of equals."""
        return max(range(len(self.moments)), key=lambda i: self.moments[i].live_bytes)

    def largest_at_the_peak(self, count: int) -> tuple[tuple[LiveParts, ...], tuple[LiveParts, ...]]:
        """Up to `count` layers' `peak_tensors` that are worth naming, a thousandth of the peak or more; all others."""
        by_label: dict[tuple[str, str], list[LiveTensor]] = {}
        for tensor in self.peak_tensors:
            by_label.setdefault((tensor.label, tensor.role), []).append(tensor)
        parts = tuple(LiveParts(*key, tuple(tensors)) for key, tensors in by_label.items())
        parts = tuple(sorted(parts, key=lambda part: -part.nbytes))
        least = self.moments[self.peak_index].live_bytes / 1000
        count = sum(part.nbytes >= least for part in parts[:count])
        return parts[:count], parts[count:]

    @property
    def unit(self) -> tuple[str, float]:
        """The unit that suits its sizes, and how many bytes that is: ("KB", 1e3) or ("MB", 1e6)."""
        return ("MB", 1e6) if self.total_bytes >= 10_000_000 else ("KB", 1e3)

    def to_json(self) -> str:
        """All of it as JSON: the attributes by name, bytes as integers."""
        return json.dumps(dataclasses.asdict(self), indent=1)

    def plot(self, axes: Any = None) -> Any:
        """Draws the live bytes along the step: what is stored for the backward pass, working maps and workspace.

        ```python
        report.plot().figure.savefig("memory.png")
        ```

        Args:
            axes: `matplotlib.axes.Axes` to draw in. None, the default: those of a new figure.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from tinytl_keras.memory.plot import plot

        return plot(self, axes)

    def __str__(self) -> str:
        from tinytl_keras.memory.table import table

        return table(self)


def with_reach(layers: Sequence[LayerMemory]) -> tuple[LayerMemory, ...]:
    """`layers`, in forward order, with the `reach_bytes` that follow from their `stored_bytes`."""
    result, reach = [], 0
    for layer in reversed(layers):
        reach += layer.stored_bytes
        result.append(dataclasses.replace(layer, reach_bytes=reach))
    return tuple(reversed(result))
