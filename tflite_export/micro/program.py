"""What `generate` makes of a model before it is C: the graphs, their memory, and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.micro.forms import multiply_adds
from tflite_export.micro.kernels import Layout
from tflite_export.micro.memory import Memory
from tflite_export.micro.state import HEADER
from tflite_export.runtime.info import Description

STACK_BYTES = 8192  # stack, and what the C library and a main keep, as the budget counts them
EVENT_BYTES = 12  # of a tinytl_row_event
CODE_BYTES = 56 * 1024  # what the kernels and the calls take on a Cortex-M4 at -O2, as the budget counts them


@dataclasses.dataclass(frozen=True, eq=False)
class MicroProgram:
    """A model as C operators.

    Attributes:
        name: what the C functions begin with.
        train: the training step; it reads ``x`` and ``y``.
        infer: the forward pass, from ``x`` to ``logits``.
        train_memory, infer_memory: their arenas, which are one.
        variables: what trains, in the order in which the state keeps it.
        layouts: how the program keeps each of them, by name.
        optimizer: `SGD` or `Adam`.
        description: what an export of the same model says about itself.
        given_up: what the budget took, in words.
    """

    name: str
    train: Graph
    infer: Graph
    train_memory: Memory
    infer_memory: Memory
    variables: tuple[Variable, ...]
    layouts: Mapping[str, Layout]
    optimizer: object
    description: Description
    given_up: tuple[str, ...] = ()

    @property
    def arena_bytes(self) -> int:
        return max(self.train_memory.total_bytes, self.infer_memory.total_bytes)

    @property
    def slots(self) -> tuple[str, ...]:
        """What the optimiser keeps beside every variable."""
        return tuple(self.optimizer.slots)

    @property
    def trainable_count(self) -> int:
        return sum(v.initial.size for v in self.variables)

    @property
    def state_bytes(self) -> int:
        """Variables and what the optimiser keeps of them."""
        return 4 * self.trainable_count * (1 + len(self.slots))

    @property
    def saved_bytes(self) -> int:
        """What ``_save`` writes."""
        return HEADER.size + self.state_bytes

    @property
    def input_bytes(self) -> int:
        """Of the arena, where x lies until it is read."""
        return self.train.inputs["x"].nbytes

    @property
    def constants(self) -> tuple[Tensor, ...]:
        """Every constant that the operators read, once."""
        return tuple(dict.fromkeys(t for op in self.operators for t in op.inputs if t is not None and t.is_constant))

    @property
    def operators(self) -> tuple[Op, ...]:
        """Of both functions, those of a region of rows included, each once."""
        ops = []
        for op in (*self.train.ops, *self.infer.ops):
            ops += op.attributes["plan"].ops if op.kind == "rows" else (op,)
        return tuple(dict.fromkeys(ops))

    @property
    def constant_bytes(self) -> int:
        """In flash: kernels with their scales, frozen biases, and the events of regions that go row by row."""
        regions = [op.attributes["plan"] for graph in (self.train, self.infer) for op in graph.ops if op.kind == "rows"]
        events = EVENT_BYTES * sum(len(plan.events) for plan in regions)
        scales = sum(4 * len(t.quantization.scale) for t in self.constants if t.quantization is not None)
        return events + scales + sum(t.nbytes for t in self.constants)

    @property
    def ram_bytes(self) -> int:
        """Arena, which x lies in, state and stack."""
        return self.arena_bytes + self.state_bytes + self.stack_bytes

    @property
    def stack_bytes(self) -> int:
        """An allowance."""
        return STACK_BYTES

    @property
    def flash_bytes(self) -> int:
        """Constants, initial values, and an allowance for code."""
        return self.constant_bytes + 4 * self.trainable_count + CODE_BYTES


def cost(graph: Graph) -> int:
    """Multiply-adds of the convolutions of a graph."""
    total = 0
    for op in graph.ops:
        total += sum(map(multiply_adds, op.attributes["plan"].ops)) if op.kind == "rows" else multiply_adds(op)
    return total


def flat(variable: Variable) -> np.ndarray:
    return np.asarray(variable.initial, np.float32).ravel()
