"""The same forward graph on another number of rows."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import integers
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.shapes import infer_shapes

# Constant operands that give a size for every axis of the output, the batch in front.
_SIZES = {"RESHAPE": 1, "SLICE": 2, "STRIDED_SLICE": 2, "BROADCAST_TO": 1, "TRANSPOSE_CONV": 0}
_READS = ("READ_VARIABLE",)


def rebatched(graph: Graph, rows: int) -> Graph:
    """`graph`, with one input, on `rows` samples: axis 0 of what depends on it counts samples.

    What the graph computes from shapes (SHAPE, and arithmetic behind it) becomes constant; nothing else is changed but
    shapes, and constants that repeat them.

    Raises:
        ValueError: an operator whose result does not grow with the batch, or is not known to; names it.
    """
    (x,) = graph.inputs.values()
    batch = x.shape[0]
    new: dict[Tensor, Tensor] = {x: dataclasses.replace(x, shape=(rows, *x.shape[1:]))}
    ops: list[Op] = []
    for old in graph.ops:
        inputs = tuple(new.get(t, t) for t in old.inputs)
        op = dataclasses.replace(old, inputs=inputs)
        if op.kind == "SHAPE":
            new[op.outputs[0]] = _constant(op.outputs[0], np.array(inputs[0].shape))
        elif op.kind not in _READS and all(t is None or t.is_constant for t in inputs):
            for output, value in zip(op.outputs, _values(op)):
                new[output] = _constant(output, value)
        elif inputs == old.inputs:
            ops.append(op)
        else:
            op = _with_sizes(op, batch, rows)
            outputs = tuple(dataclasses.replace(t, shape=_scaled(op, t, batch, rows)) for t in op.outputs)
            _check_shapes(op, outputs)
            new.update(zip(op.outputs, outputs))
            ops.append(dataclasses.replace(op, outputs=outputs))
    inputs = {name: new[tensor] for name, tensor in graph.inputs.items()}
    outputs = {name: new.get(tensor, tensor) for name, tensor in graph.outputs.items()}
    return remove_dead_code(graph.replace(inputs=inputs, outputs=outputs, ops=tuple(ops)))


def _values(op: Op) -> tuple[np.ndarray, ...]:
    outputs = {str(i): output for i, output in enumerate(op.outputs)}
    values = evaluate(Graph("constant", {}, outputs, (op,)), {}, precision="float32")
    return tuple(values.values())


def _constant(tensor: Tensor, value: np.ndarray) -> Tensor:
    data = np.asarray(value, tensor.dtype)
    return dataclasses.replace(tensor, shape=data.shape, data=data)


def _scaled(op: Op, output: Tensor, batch: int, rows: int) -> tuple[int, ...]:
    if not output.shape or output.shape[0] % batch:
        raise _refusal(op, f"its output {list(output.shape)} has no batch of {batch} in front")
    return (output.shape[0] * rows // batch, *output.shape[1:])


def _with_sizes(op: Op, batch: int, rows: int) -> Op:
    """`op` with the constant that gives its output's sizes for `rows` samples."""
    position = _SIZES.get(op.kind)
    if position is None or position >= len(op.inputs) or op.inputs[position] is None:
        changed = {"new_shape": _scaled(op, op.outputs[0], batch, rows)} if "new_shape" in op.attributes else {}
        return dataclasses.replace(op, attributes={**op.attributes, **changed})
    sizes, (output,) = op.inputs[position], op.outputs
    if not sizes.is_constant:
        raise _refusal(op, f"its sizes {sizes} are computed while it runs")
    data, attributes = np.array(sizes.data), dict(op.attributes)
    if op.kind == "RESHAPE":
        data = np.array(_scaled(op, output, batch, rows))
        attributes["new_shape"] = tuple(int(n) for n in data)
    elif data.size and data[0] == output.shape[0]:
        data[0] = data[0] * rows // batch
    inputs = (*op.inputs[:position], integers(data), *op.inputs[position + 1 :])
    return dataclasses.replace(op, inputs=inputs, attributes=attributes)


def _check_shapes(op: Op, outputs: tuple[Tensor, ...]) -> None:
    try:
        shapes = infer_shapes(op)
    except ValueError as error:
        raise _refusal(op, str(error)) from error
    for shape, output in zip(shapes, outputs, strict=True):
        if tuple(shape) != output.shape:
            raise _refusal(op, f"on other rows its output would be {list(shape)} instead of {list(output.shape)}")


def _refusal(op: Op, reason: str) -> ValueError:
    return ValueError(
        f"operator {op.kind}, which writes {op.outputs[0].name!r}, cannot run on another batch size: {reason}. "
        "Convert the model with a dynamic batch, or pass batch_size and infer_batch_size as in the file"
    )
