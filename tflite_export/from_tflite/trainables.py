"""Which constants of a .tflite graph train, by method, and those constants as variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from tflite_export.from_tflite.weights import Layer, Operand
from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.train_from import Layers

METHODS = ("last", "bias", "lite_residual", "lite_residual+bias", "full")
WITH_BRANCHES = ("lite_residual", "lite_residual+bias")
_WITH_BIASES = ("bias", "lite_residual+bias", "full")


def check_method(method: str) -> None:
    """Raises ValueError for a method that does not exist, or that a .tflite file cannot have."""
    if method == "norm+last":
        raise ValueError(
            "method='norm+last' trains normalisation layers, and a .tflite file has none left: the converter folds "
            "BatchNormalization into kernels and biases. method='bias' trains what became of beta; for gamma, convert "
            "the Keras model: tinytl_keras.convert(model, 'norm+last')"
        )
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}")


def with_variables(graph: Graph, layers: Iterable[Layer], method: str, classifier: Layer | None) -> Graph:
    """`graph` with what `method` trains read from variables, each by one READ_VARIABLE in front of its first reader.

    A variable is called ``<layer>/kernel`` or ``<layer>/bias`` and starts at the constant's values, in the layout of
    the operator; biases are vectors. All of the classifier trains in every method. Layers that share their kernel, as a
    Keras layer that is called twice, share their variables; constants that are equal by accident (the zeros that the
    converter gives to convolutions without a bias) do not.
    """
    shared: dict[tuple, Variable] = {}
    chosen: dict[tuple[Op, int], Variable] = {}
    layers = list(layers)
    for layer in layers:
        for role, operand in _trained(layer, method, layer is classifier):
            key = (operand.tensor, layer.kernel.tensor)
            if key not in shared:
                shared[key] = Variable(f"{layer.name}/{role}", _initial(role, operand.tensor))
            chosen[operand.op, operand.position] = shared[key]
    return _reading(graph, chosen, {op: layer.name for layer in layers for op in (layer.op, layer.end)})


def _trained(layer: Layer, method: str, is_classifier: bool) -> list[tuple[str, Operand]]:
    kernel = [("kernel", layer.kernel)] if is_classifier or method == "full" else []
    bias = [("bias", layer.bias)] if layer.bias and (is_classifier or method in _WITH_BIASES) else []
    return kernel + bias


def _initial(role: str, tensor: Tensor) -> np.ndarray:
    shape = (tensor.size,) if role == "bias" else tensor.shape
    return np.array(tensor.data, np.float32).reshape(shape)


def _reading(graph: Graph, chosen: Mapping[tuple[Op, int], Variable], names: Mapping[Op, str]) -> Graph:
    """`graph` with the chosen inputs of operators read from variables; an operator's origin is the layer's name."""
    values: dict[Variable, Tensor] = {}
    ops: list[Op] = []
    for op in graph.ops:
        inputs = list(op.inputs)
        for position in range(len(inputs)):
            variable = chosen.get((op, position))
            if variable is None:
                continue
            if variable not in values:
                values[variable] = Tensor(variable.name, variable.shape, variable.dtype)
                ops.append(Op("READ_VARIABLE", (), (values[variable],), {"variable": variable}, variable.name))
            inputs[position] = values[variable]
        ops.append(dataclasses.replace(op, inputs=tuple(inputs), origin=names.get(op, op.origin)))
    return graph.replace(ops=tuple(ops))


def with_short_names(graph: Graph) -> Graph:
    """`graph` with the first of the names that the converter joins by ";" wherever it fused operators: whatever the
    compiler adds is called after what it belongs to, and names are a large part of a small file."""
    short: dict[Tensor | None, Tensor | None] = {None: None}

    def named(tensor: Tensor | None) -> Tensor | None:
        if tensor not in short:
            short[tensor] = dataclasses.replace(tensor, name=tensor.name.split(";")[0])
        return short[tensor]

    ops = tuple(
        Op(op.kind, tuple(map(named, op.inputs)), tuple(map(named, op.outputs)), op.attributes, op.origin.split(";")[0])
        for op in graph.ops
    )
    inputs = {name: named(tensor) for name, tensor in graph.inputs.items()}
    outputs = {name: named(tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(inputs=inputs, outputs=outputs, ops=ops)


def trained_layers(graph: Graph, branches: Iterable[str] = ()) -> Layers:
    """Every layer's name and the names of its variables, in the order of the graph; a branch counts as one layer."""
    found: dict[str, list[str]] = {}
    branches = tuple(branches)
    for variable in graph.variables:
        branch = next((name for name in branches if variable.name.startswith(f"{name}/")), None)
        found.setdefault(branch or variable.name.rpartition("/")[0], []).append(variable.name)
    return list(found.items())


def frozen(graph: Graph, names: set[str]) -> Graph:
    """`graph` with these variables as constants, at their initial values."""
    constants = {
        op.outputs[0]: dataclasses.replace(op.outputs[0], data=op.attributes["variable"].initial)
        for op in graph.ops
        if op.kind == "READ_VARIABLE" and op.attributes["variable"].name in names
    }
    ops = (
        dataclasses.replace(op, inputs=tuple(constants.get(t, t) for t in op.inputs))
        for op in graph.ops
        if not op.outputs or op.outputs[0] not in constants
    )
    return graph.replace(ops=tuple(ops))


def constants_of(graph: Graph) -> list[tuple[str, np.ndarray]]:
    """Name and value of every float constant, in the order of the graph: what is frozen."""
    tensors = dict.fromkeys(t for op in graph.ops for t in op.inputs if t is not None and t.is_constant)
    return [(tensor.name, tensor.data) for tensor in tensors if tensor.dtype == "float32"]
