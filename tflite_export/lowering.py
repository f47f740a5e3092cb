"""Keras model -> forward Graph, by way of TensorFlow's own TFLite converter.

The model is traced with its trainable variables as *inputs*: the converter folds all that is frozen into constant
kernels (BatchNormalization with stored statistics included) and cannot touch what is an input. Afterwards those inputs
become READ_VARIABLE.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tflite_export import flatbuffer
from tflite_export.graph import Graph, Op, Tensor, Variable, substitute
from tflite_export.int8_weights import values_of


def trainable_variables(model) -> tuple[Variable, ...]:
    """What the exported step trains, in Keras's order: the model's trainable weights at their present values."""
    variables = tuple(Variable(v.path, np.array(v.numpy())) for v in model.trainable_variables)
    names = [variable.name for variable in variables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"several trainable weights are called {', '.join(twice)}; give their layers different names, "
            "the exported file finds weights by name"
        )
    return variables


def frozen_weights(model, variables: tuple[Variable, ...]) -> list[tuple[str, np.ndarray]]:
    """Path and value of every weight that is none of `variables`; the state of random generators is no weight."""
    trained = {variable.name for variable in variables}
    weights = [*model.non_trainable_variables, *(v for v in model.trainable_variables if v.path not in trained)]
    return [(v.path, np.array(v.numpy())) for v in weights if "float" in str(v.dtype)]


def lower(model, batch_size: int, variables: tuple[Variable, ...], frozen: str = "float32") -> Graph:
    """The inference pass of a Keras model at a fixed batch size.

    Args:
        model: a built `keras.Model` with the TensorFlow backend.
        batch_size: rows of every input.
        variables: those of `trainable_variables(model)` that train, the others being frozen; all signatures of a file
            share them.
        frozen: "int8" lowers the model with its frozen kernels rounded (`int8_weights`).

    Returns:
        A graph with the input ``x`` and the output ``output`` (a model with several has Keras's names instead), which
        reads every variable by one READ_VARIABLE. `Op.origin` is the Keras layer's name.
    """
    import tensorflow as tf

    index_of = {variable.name: index for index, variable in enumerate(variables)}
    untrained = [v for v in model.trainable_variables if v.path not in index_of]
    constants = dict(zip((v.path for v in untrained), values_of(model, untrained, index_of, frozen), strict=True))
    rest = values_of(model, model.non_trainable_variables, index_of, frozen)
    specs = {
        name: tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype)
        for name, tensor in zip(input_names(model), model.inputs, strict=True)
    }
    for index, variable in enumerate(variables):
        specs[_weight_name(index)] = tf.TensorSpec(variable.shape, variable.dtype)

    @tf.function(autograph=False)
    def forward(**values):
        weights = [
            constants[v.path] if v.path in constants else values[_weight_name(index_of[v.path])]
            for v in model.trainable_variables
        ]
        x = as_the_model_takes(model, [values[name] for name in input_names(model)])
        outputs, _ = model.stateless_call(weights, rest, x, training=False)
        outputs = tf.nest.flatten(outputs)
        # Named identities: the converter orders signature outputs by itself.
        return {name: tf.identity(value) for name, value in zip(output_names(model), outputs, strict=True)}

    layer_names = [layer.name for layer in _all_layers(model)]
    graph = flatbuffer.read(_convert(forward.get_concrete_function(**specs), layer_names)).signatures[0]
    _check_no_control_flow(graph, layer_names)
    graph = _variables_from_inputs(graph, {_weight_name(i): v for i, v in enumerate(variables)})
    inputs, outputs = (
        _in_order(tensors, names)
        for tensors, names in ((graph.inputs, input_names(model)), (graph.outputs, output_names(model)))
    )
    return _name_origins(graph.replace(inputs=inputs, outputs=outputs), layer_names)


def _in_order(tensors: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Where it cannot write a SavedModel for itself, the converter goes on without the names of the outputs."""
    if len(names) == len(tensors) == 1:
        return dict(zip(names, tensors.values(), strict=True))
    if missing := sorted(set(names).difference(tensors)):
        raise OSError(
            f"TensorFlow's converter lost {', '.join(map(repr, missing))}, as it does where it cannot write to its "
            "temporary folder. Make room there, or set TMPDIR to another"
        )
    return {name: tensors[name] for name in names}


def stock_inference_file(model, batch_size: int = 1) -> bytes:
    """The inference .tflite that TensorFlow's converter makes of `model`: what every memory figure is held against."""
    import tensorflow as tf

    specs = [tf.TensorSpec((batch_size, *tensor.shape[1:]), tensor.dtype) for tensor in model.inputs]
    groups = (model.trainable_variables, model.non_trainable_variables)
    weights = [[np.array(v.numpy()) for v in group] for group in groups]

    @tf.function(autograph=False)
    def infer(*x):
        return model.stateless_call(*weights, as_the_model_takes(model, x), training=False)[0]

    return _convert(infer.get_concrete_function(*specs), [layer.name for layer in _all_layers(model)])


def input_names(model) -> list[str]:
    """``x`` for the only input, else Keras's own names: the keys of a dict of inputs, or the names of the inputs."""
    if len(model.inputs) == 1:
        return ["x"]
    return sorted(model.input) if isinstance(model.input, dict) else _unique(tensor.name for tensor in model.inputs)


def output_names(model) -> list[str]:
    """``output`` for the only output, else Keras's own names: the keys of a dict of outputs, or the layers' names.

    Where one layer makes several, they are ``layer``, ``layer_1``, ….
    """
    if len(model.outputs) == 1:
        return ["output"]
    return sorted(model.output) if isinstance(model.output, dict) else _unique(model.output_names)


def keras_output_names(model) -> list[str]:
    """What Keras calls the outputs, in the order of `output_names`: what its ``compile`` takes a loss for."""
    if len(model.outputs) == 1:
        return list(getattr(model, "output_names", ["output"]))  # a Sequential model has none
    return output_names(model)


def as_the_model_takes(model, inputs: Sequence):
    """`inputs`, in the order of `input_names`, in the list or dict that the model was built with."""
    if len(inputs) == 1:
        return inputs[0]
    return dict(zip(sorted(model.input), inputs, strict=True)) if isinstance(model.input, dict) else list(inputs)


def _unique(names: Iterable[str]) -> list[str]:
    unique: list[str] = []
    for name in names:
        candidates = itertools.chain((name,), (f"{name}_{number}" for number in itertools.count(1)))
        unique.append(next(candidate for candidate in candidates if candidate not in unique))
    return unique


def _weight_name(index: int) -> str:
    return f"weight_{index}"


def _convert(function, layer_names: list[str]) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python.convert import ConverterError

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], tf.Module())
    try:
        with _quiet():
            return converter.convert()
    except ConverterError as error:
        missing = set(re.findall(r"'tf\.(\w+)' op", str(error)))
        layers = {_layer_of(op.name, layer_names) or op.name: op.type for op in function.graph.get_operations()}
        named = [f"layer {layer!r} (tf.{kind})" for layer, kind in layers.items() if kind in missing]
        if not named:
            raise
        raise ValueError(
            f"TFLite has no builtin operator for {', '.join(named)}. "
            "Replace the layer by one that is made of standard Keras layers."
        ) from error


class _quiet:
    """Keeps the converter's native log lines off the user's terminal; its errors come as exceptions."""

    def __enter__(self):
        self.saved, self.sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(self.sink, 2)

    def __exit__(self, *_):
        os.dup2(self.saved, 2)
        os.close(self.saved)
        os.close(self.sink)


def _check_no_control_flow(graph: Graph, layer_names: list[str]) -> None:
    for op in graph.ops:
        if op.kind in ("WHILE", "IF", "STABLEHLO_WHILE", "CUSTOM"):
            layer = next((_layer_of(out.name, layer_names) for out in op.outputs), None) or op.outputs[0].name
            raise ValueError(
                f"layer {layer!r} needs {op.kind}, which the exported step cannot have. Recurrent layers work "
                "unrolled: build them with unroll=True. A layer of your own works without keras.ops.while_loop, cond "
                "and scan: as a Python loop of fixed length, or with keras.ops.where"
            )


def _variables_from_inputs(graph: Graph, variables: dict[str, Variable]) -> Graph:
    reads, replacement = [], {}
    for name, variable in variables.items():
        if name not in graph.inputs:
            raise ValueError(f"the model's output does not depend on the trainable weight {variable.name!r}; freeze it")
        value = Tensor(variable.name, variable.shape, variable.dtype)
        reads.append(Op("READ_VARIABLE", (), (value,), {"variable": variable}, variable.name))
        replacement[graph.inputs[name]] = value
    inputs = {name: tensor for name, tensor in graph.inputs.items() if name not in variables}
    return graph.replace(inputs=inputs, ops=(*reads, *substitute(graph.ops, replacement)))


def _all_layers(model):
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _all_layers(layer)


def _name_origins(graph: Graph, layer_names: list[str]) -> Graph:
    """Names each operator's Keras layer, told from the name scopes of its output."""

    def origin(op: Op) -> str:
        found = (_layer_of(path, layer_names) for path in op.outputs[0].name.split(";"))
        return next(filter(None, found), op.outputs[0].name)

    return graph.replace(
        ops=tuple(op if op.kind == "READ_VARIABLE" else dataclasses.replace(op, origin=origin(op)) for op in graph.ops)
    )


def _layer_of(path: str, layer_names: list[str]) -> str | None:
    """The layer in whose name scope ``scope/scope_1/op`` lies: the longest layer name that starts a scope."""
    scopes = path.split("/")[:-1]
    candidates = [name for name in layer_names for scope in scopes if scope.startswith(name)]
    return max(candidates, key=len, default=None)
