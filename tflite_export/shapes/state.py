"""Variables and branches."""

from __future__ import annotations

from tflite_export.shapes.operands import expect, expect_dtype


def _read_variable(op):
    variable = op.attributes["variable"]
    expect_dtype(op, op.outputs[0], variable.dtype)
    return [variable.shape]


def _assign_variable(op, value):
    variable = op.attributes["variable"]
    fits = (value.shape, value.dtype) == (variable.shape, variable.dtype)
    expect(op, fits, f"{value} for {variable.name!r}", f"{variable.dtype}{list(variable.shape)}")
    return []


def _if(op, condition, *operands):
    expect_dtype(op, condition, "bool")
    expect(op, condition.size == 1 and None not in operands, f"{condition}, {operands}", "one value, and operands")
    for role in ("then_graph", "else_graph"):
        graph = op.attributes[role]
        takes = [(t.shape, t.dtype) for t in graph.inputs.values()]
        gives = [(t.shape, t.dtype) for t in graph.outputs.values()]
        expect(op, takes == [(t.shape, t.dtype) for t in operands], f"{role} of {takes}", "the operands")
        expect(op, gives == [(t.shape, t.dtype) for t in op.outputs], f"{role} giving {gives}", "the outputs")
    return [tensor.shape for tensor in op.outputs]


RULES = {
    "READ_VARIABLE": _read_variable,
    "ASSIGN_VARIABLE": _assign_variable,
    "IF": _if,
}
