"""What `generate` makes of a model before it is C: the graphs, their memory, and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.micro.forms import CONVOLUTIONS, multiply_adds
from tflite_export.micro.kernels import Layout
from tflite_export.micro.memory import Memory
from tflite_export.micro.requantization import requantization
from tflite_export.micro.state import HEADER
from tflite_export.runtime.info import Description

STACK_BYTES = 8192  # stack, and what the C library and a main keep, as the budget counts them
EVENT_BYTES = 12  # of a tinytl_row_event
CODE_BYTES = 56 * 1024  # what the kernels and the calls take on a Cortex-M4 at -O2, as the budget counts them
INT8_CODE_BYTES = 12 * 1024  # more, of kernels and calls with int8 activations beside those with float ones


@dataclasses.dataclass(frozen=True, eq=False)
class MicroProgram:
    """A model as C operators.

    Attributes:
        name: what the C functions begin with.
        forward: the forward pass as it is differentiated, from ``x`` to ``logits``, before any fusion.
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
    forward: Graph
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
        """In flash: kernels with their scales, what int8 layers need besides, frozen biases, and the events of regions
        that go row by row."""
        regions = [op.attributes["plan"] for graph in (self.train, self.infer) for op in graph.ops if op.kind == "rows"]
        events = EVENT_BYTES * sum(len(plan.events) for plan in regions)
        scaled = {op.inputs[1] for op in self.operators if _reads_scales(op)}
        scales = sum(4 * len(t.quantization.scale) for t in scaled)
        requantizations = {requantization(op) for op in self.operators if _is_int8_layer(op)}
        return events + scales + sum(r.nbytes for r in requantizations) + sum(t.nbytes for t in self.constants)

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
        return self.constant_bytes + 4 * self.trainable_count + self.code_bytes

    @property
    def code_bytes(self) -> int:
        """An allowance."""
        return CODE_BYTES + (INT8_CODE_BYTES if any(map(_is_int8_layer, self.operators)) else 0)


def _is_int8_layer(op: Op) -> bool:
    return op.kind in CONVOLUTIONS and op.inputs[0].dtype == "int8"


def _reads_scales(op: Op) -> bool:
    """Of a kernel in int8; an int8 layer has them in its requantisation."""
    has_kernel = len(op.inputs) > 1 and op.inputs[1] is not None and op.inputs[1].is_constant
    return has_kernel and op.inputs[1].dtype == "int8" and not _is_int8_layer(op)


def cost(graph: Graph) -> int:
    """Multiply-adds of the convolutions of a graph."""
    total = 0
    for op in graph.ops:
        total += sum(map(multiply_adds, op.attributes["plan"].ops)) if op.kind == "rows" else multiply_adds(op)
    return total


def flat(variable: Variable) -> np.ndarray:
    return np.asarray(variable.initial, np.float32).ravel()
