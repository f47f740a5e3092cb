"""The signatures beside ``train``: what an app needs around the training step."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tflite_export.accumulation import Accumulators
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.step_loss import outputs_and_logits
from tflite_export.stored_variables import shapes_by_name, stored_values, values_by_name


def infer(forward: Graph) -> Graph:
    """``infer``: x -> output, what the Keras model returns, and logits; of several `step_loss.outputs_and_logits`."""
    return Graph("infer", forward.inputs, outputs_and_logits(forward), forward.ops)


def save(variables: Iterable[Variable]) -> Graph:
    """``save``: request float32 [1] -> every variable by name, however it is stored."""
    b = Builder("save")
    outputs = values_by_name(b, variables)
    return Graph("save", {"request": Tensor("request", (1,))}, outputs, tuple(b.ops))


def restore(variables: Iterable[Variable], accumulators: Accumulators | None = None) -> Graph:
    """``restore``: what ``save`` gives -> ok float32 [1]. A step that has begun to accumulate begins again."""
    b, variables = Builder("restore"), tuple(variables)
    inputs = {name: Tensor(name, shape) for name, shape in shapes_by_name(variables).items()}
    values = stored_values(b, variables, inputs)
    for variable, value in values.items():
        b.assign(variable, value)
    if accumulators is not None:
        for variable, total in accumulators.sums.items():
            b.assign(total, b.unary("ZEROS_LIKE", values[variable]))
        b.assign(accumulators.count, constant(0))
    return Graph("restore", inputs, {"ok": constant(1, name="ok")}, tuple(b.ops))


def info(json_bytes: bytes) -> Graph:
    """``info``: request float32 [1] -> json uint8 [n]."""
    text = np.frombuffer(json_bytes, np.uint8)
    return Graph("info", {"request": Tensor("request", (1,))}, {"json": constant(text, "uint8", "json")}, ())
