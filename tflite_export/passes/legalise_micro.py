"""The form for TFLite Micro: the builtin form, within the limits of its kernels."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.rewrite import rewrite

_MOST_CONCATENATED = 10  # kMaxInputNum in TFLM's concatenation.cc


def legalise_micro(graph: Graph) -> Graph:
    """Canonical form to the builtin operators that TFLite Micro has."""
    return rewrite(legalise_builtin(graph), {"CONCATENATION": _concatenate_in_steps})


def _concatenate_in_steps(b: Builder, op: Op) -> Tensor | None:
    if len(op.inputs) <= _MOST_CONCATENATED:
        return None
    parts = list(op.inputs)
    while len(parts) > 1:
        groups = [parts[i : i + _MOST_CONCATENATED] for i in range(0, len(parts), _MOST_CONCATENATED)]
        parts = [group[0] if len(group) == 1 else b.concatenate(group, op.attributes["axis"]) for group in groups]
    return parts[0]
