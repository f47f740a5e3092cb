"""Activations that TensorFlow's converter writes out, under one name again.

The name is what a gradient rule needs to keep one map instead of every map in between, and to be right where the
written form is not: exp(x) of a large x overflows in a branch that nobody takes, and infinity times zero is not zero.
"""

from __future__ import annotations

import numpy as np

from tflite_export.builder import Builder
from tflite_export.constants import SELU_ALPHA, SELU_SCALE
from tflite_export.graph import Graph, Op, Tensor, consumers, producers
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import rewrite


def name_activations(graph: Graph) -> Graph:
    """`graph`, canonical, with SWISH, SOFTPLUS and SELU instead of what stands for them."""
    pattern = _Pattern(graph)
    named = rewrite(graph, {"MUL": pattern.swish, "LOG": pattern.softplus, "SELECT_V2": pattern.selu})
    return graph if named.ops == graph.ops else remove_dead_code(named)


class _Pattern:
    def __init__(self, graph: Graph):
        self.writers = producers(graph.ops)
        outputs = set(graph.outputs.values())
        self.once = {t for t, readers in consumers(graph.ops).items() if len(readers) == 1 and t not in outputs}

    def swish(self, b: Builder, op: Op) -> Tensor | None:
        """x * LOGISTIC(x)."""
        for x, y in (op.inputs, op.inputs[::-1]):
            gate = self._written_by("LOGISTIC", y)
            if gate is not None and gate.inputs[0] is x:
                return b.unary("SWISH", x)
        return None

    def softplus(self, b: Builder, op: Op) -> Tensor | None:
        """LOG(EXP(x) + 1)."""
        total = self._written_by("ADD", op.inputs[0])
        exponential = total and self._written_by("EXP", self._beside(total, 1))
        return b.unary("SOFTPLUS", exponential.inputs[0]) if exponential else None

    def selu(self, b: Builder, op: Op) -> Tensor | None:
        """SELECT(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * (EXP(x) - 1))."""
        condition, above, below = (self.writers.get(tensor) for tensor in op.inputs)
        if None in (condition, above, below) or (condition.kind, above.kind, below.kind) != ("GREATER", "MUL", "MUL"):
            return None
        x = self._beside(above, SELU_SCALE)
        difference = self._written_by("SUB", self._beside(below, SELU_SCALE * SELU_ALPHA))
        exponential = difference and self._written_by("EXP", self._beside(difference, 1))
        if exponential is None or difference.inputs[0] is not exponential.outputs[0]:
            return None
        if not (exponential.inputs[0] is x and condition.inputs[0] is x and _is(condition.inputs[1], 0)):
            return None
        return b.unary("SELU", x)

    def _written_by(self, kind: str, tensor: Tensor | None) -> Op | None:
        """The operator of this kind that writes `tensor` for one reader alone."""
        op = self.writers.get(tensor) if tensor in self.once else None
        return op if op is not None and op.kind == kind else None

    @staticmethod
    def _beside(op: Op, value: float) -> Tensor | None:
        """The other operand where one is the constant `value`."""
        x, y = op.inputs
        return x if _is(y, value) else y if _is(x, value) else None


def _is(tensor: Tensor, value: float) -> bool:
    return tensor.is_constant and tensor.size == 1 and np.float32(tensor.data.item()) == np.float32(value)
