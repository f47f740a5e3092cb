"""Computes at compile time what depends on constants alone."""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.rewrite import rewrite


def fold_constants(graph: Graph) -> Graph:
    """Replaces every operator whose inputs are all constant by its value, but for SWAPPED_KERNEL."""

    def fold(b: Builder, op: Op) -> Tensor | None:
        if not op.inputs or len(op.outputs) != 1 or not all(t is None or t.is_constant for t in op.inputs):
            return None
        (output,) = op.outputs
        value = evaluate(Graph("constant", {}, {"value": output}, (op,)), {}, precision="float32")["value"]
        return dataclasses.replace(output, data=value.astype(output.dtype).reshape(output.shape))

    return rewrite(graph, dict.fromkeys({op.kind for op in graph.ops} - {"ASSIGN_VARIABLE", "SWAPPED_KERNEL"}, fold))
