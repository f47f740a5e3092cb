"""Puts biases and activations back into the operators that can carry them."""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, producers
from tflite_export.passes.rewrite import read_once, rewrite

_WITH_BIAS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_ACTIVATIONS = ("RELU", "RELU6", "RELU_N1_TO_1")
_WITH_ACTIVATION = (*_WITH_BIAS, "ADD", "SUB", "MUL", "DIV", "AVERAGE_POOL_2D", "MAX_POOL_2D")


def combine_biases(graph: Graph) -> Graph:
    """(convolution + u) + v becomes convolution + (u + v), so that the sum can be the convolution's bias."""
    table, single = producers(graph.ops), read_once(graph)

    def add(b: Builder, op: Op) -> Tensor | None:
        for inner, outer in (op.inputs, op.inputs[::-1]):
            source = table.get(inner)
            if source is None or source.kind != "ADD" or inner not in single:
                continue
            y, vector = source.inputs
            convolution = table.get(y)
            if convolution is not None and convolution.kind in _WITH_BIAS and all(map(_is_vector, (vector, outer))):
                return b.add(y, b.add(vector, outer))
        return None

    return rewrite(graph, {"ADD": add})


def fuse_bias(graph: Graph, dynamic: bool) -> Graph:
    """Moves an added vector into the convolution or FULLY_CONNECTED in front of it; variable ones if `dynamic`."""
    table, single = producers(graph.ops), read_once(graph)
    fused: dict[Tensor, tuple[Op, Op]] = {}  # the sum, by what it replaces
    for op in graph.ops:
        if op.kind != "ADD":
            continue
        for y, vector in (op.inputs, op.inputs[::-1]):
            source = table.get(y)
            fits = source is not None and source.kind in _WITH_BIAS and source.inputs[2] is None and y in single
            if fits and _is_vector(vector) and vector.shape[-1] == y.shape[-1] and (dynamic or vector.is_constant):
                fused[op.outputs[0]] = (source, vector)
                break
    absorbed = {source.outputs[0] for source, _ in fused.values()}
    ops = []
    for op in graph.ops:
        if op.outputs and op.outputs[0] in absorbed:
            continue
        if op.outputs and op.outputs[0] in fused:
            source, vector = fused[op.outputs[0]]
            op = dataclasses.replace(source, inputs=(*source.inputs[:2], vector), outputs=op.outputs)
        ops.append(op)
    return graph.replace(ops=tuple(ops))


def fuse_activation(graph: Graph) -> Graph:
    """Moves a rectifier or clip into the operator in front of it, where nobody else reads that one's output."""
    table, single = producers(graph.ops), read_once(graph)
    carriers: dict[Tensor, Op] = {}
    for op in graph.ops:
        if op.kind in _ACTIVATIONS and op.inputs[0] in single:
            source = table.get(op.inputs[0])
            if (
                source is not None
                and source.kind in _WITH_ACTIVATION
                and source.attributes.get("fused_activation_function", "NONE") == "NONE"
            ):
                carriers[source.outputs[0]] = op
    ops = []
    for op in graph.ops:
        if op.inputs and op.inputs[0] in carriers and carriers[op.inputs[0]] is op:
            continue
        if op.outputs and op.outputs[0] in carriers:
            activation = carriers[op.outputs[0]]
            attributes = {**op.attributes, "fused_activation_function": activation.kind}
            op = dataclasses.replace(op, outputs=activation.outputs, attributes=attributes)
        ops.append(op)
    return graph.replace(ops=tuple(ops))


def _is_vector(tensor: Tensor) -> bool:
    """One value per channel."""
    return len(tensor.shape) == 1
