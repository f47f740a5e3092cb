"""A foreign .tflite file, checked down to its last operator before anything runs it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from tflite_export.evaluate import evaluate
from tflite_export.flatbuffer.reader import reader
from tflite_export.graph import Graph, Op, Program, Tensor
from tflite_export.shapes import infer_shapes
from tflite_export.shapes.operands import Shape

_SHAPE_ARITHMETIC = (
    *("SHAPE", "CAST", "GATHER", "STRIDED_SLICE", "SLICE", "PACK", "CONCATENATION", "RESHAPE", "SQUEEZE"),
    *("EXPAND_DIMS", "ADD", "SUB", "MUL", "FLOOR_DIV", "MAXIMUM", "MINIMUM", "REDUCE_PROD"),
)
_MOST_VALUES = 64  # of a tensor that shapes are computed in


def checked(content: bytes) -> Program:
    """The program of a .tflite file that nobody vouches for.

    Beyond what `read` checks, every operator is one that we know, takes its operands, and writes the shapes that the
    file declares. Sizes that the file leaves open are those that follow from the sizes it gives to its inputs, and
    operands that only shapes decide, like those of a RESHAPE, are constants.

    Raises:
        ValueError: with the name of the tensor or operator, what it is and what is expected.
    """
    source = reader(content)
    program = source.program()
    replaced: dict[Tensor, Tensor] = {}
    signatures = tuple(_agreed(graph, source.shape_signatures, replaced) for graph in program.signatures)
    offsets = {replaced.get(tensor, tensor): offset for tensor, offset in program.offsets.items()}
    return dataclasses.replace(program, signatures=signatures, offsets=offsets)


def _agreed(graph: Graph, open_sizes: Mapping[Tensor, Shape], replaced: dict[Tensor, Tensor]) -> Graph:
    """`graph` with the shapes that its operators make; tensors that change go into `replaced`."""
    for name, tensor in graph.inputs.items():
        if 0 in tensor.shape:
            raise ValueError(f"the input {name!r} of {graph.name!r} is empty: {tensor}")
    known: dict[Tensor, Tensor] = {}  # tensors whose values follow from shapes, as constants
    ops = []
    for op in graph.ops:
        inputs = tuple(known.get(t, t) for t in (replaced.get(t, t) for t in op.inputs))
        attributes = {
            name: _agreed(value, open_sizes, replaced) if isinstance(value, Graph) else value
            for name, value in op.attributes.items()
        }
        op = dataclasses.replace(op, inputs=inputs, attributes=attributes)
        _check_for_litert(op)
        outputs = tuple(
            _agreed_output(op, tensor, shape, open_sizes.get(tensor))
            for tensor, shape in zip(op.outputs, infer_shapes(op), strict=True)
        )
        replaced.update((old, new) for old, new in zip(op.outputs, outputs) if old is not new)
        ops.append(dataclasses.replace(op, outputs=outputs))
        if (value := _value(ops[-1])) is not None:
            known[outputs[0]] = value
    outputs = {name: replaced.get(tensor, tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(ops=tuple(ops), outputs=outputs)


def _check_for_litert(op: Op) -> None:
    """What LiteRT 2.3 crashes on, though its kernels say that they take it."""
    if op.kind == "DEPTHWISE_CONV_2D" and op.inputs[2:] in ((), (None,)):
        raise ValueError(f"{op} (origin {op.origin!r}) has no bias, which LiteRT reads nevertheless; add one of zeros")


def _agreed_output(op: Op, tensor: Tensor, shape: Shape, signature: Shape | None) -> Tensor:
    if tensor.shape == shape:
        return tensor
    left_open = signature is not None and len(signature) == len(shape)
    if left_open and all(declared in (-1, n) for declared, n in zip(signature, shape)):
        return dataclasses.replace(tensor, shape=shape)
    raise ValueError(f"{op} (origin {op.origin!r}): its operands make shape {list(shape)}, the file declares another")


def _value(op: Op) -> Tensor | None:
    """What an operator writes, where that follows from shapes and constants; None where only a run can tell."""
    if op.kind not in _SHAPE_ARITHMETIC or len(op.outputs) != 1:
        return None
    (output,) = op.outputs
    if output.dtype not in ("int32", "int64") or output.size > _MOST_VALUES or output.quantization is not None:
        return None
    if op.kind == "SHAPE":
        return dataclasses.replace(output, data=np.array(op.inputs[0].shape, output.dtype))
    if not all(tensor is not None and tensor.is_constant for tensor in op.inputs):
        return None
    value = evaluate(Graph("value", {}, {"value": output}, (op,)), {})["value"]
    return dataclasses.replace(output, data=value.astype(output.dtype))
