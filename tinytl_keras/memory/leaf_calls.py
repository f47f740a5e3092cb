"""A Keras model as the calls of its leaf layers, in forward order, with the size of every map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tinytl_keras._keras_compat import calls_in_order, graph_of
from tinytl_keras.layers import FrozenLayer, LiteResidual
from tinytl_keras.memory.block_names import block_names

# What a layer of these classes makes holds the values that it reads, and zeros at most.
_SAME_VALUES = tuple(
    getattr(keras.layers, name)
    for name in (
        "ZeroPadding1D ZeroPadding2D ZeroPadding3D Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D "
        "AlphaDropout GaussianDropout GaussianNoise ActivityRegularization Identity Flatten Reshape Permute"
    ).split()
)
_WITH_ACTIVATION = tuple(
    getattr(keras.layers, name)
    for name in (
        "Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D DepthwiseConv2D "
        "SeparableConv1D SeparableConv2D Dense EinsumDense"
    ).split()
)


@dataclass(frozen=True, eq=False)
class Map:
    """A value of one sample that a layer makes; equal only to itself.

    Attributes:
        name: The layer that makes it.
        shape: Without the batch axis.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a leaf layer, an operation of `keras.ops`, or an activation function.

    Attributes:
        layer: The layer, operation or function.
        name: Of the layer; in a model or branch, `outer/layer`.
        block: The block that the call belongs to, see `block_names`; "" for none.
        inputs: What it reads, each map once. A padded map stands for the map before the padding.
        outputs: What it makes.
    """

    layer: Any
    name: str
    block: str
    inputs: tuple[Map, ...]
    outputs: tuple[Map, ...]


def kind_of(layer: Any) -> str:
    """The class of a layer or operation, or the name of a function."""
    return getattr(layer, "__name__", None) or type(layer).__name__


def leaf_calls(model: keras.Model) -> tuple[Call, ...]:
    """Walks through a model, and through the models and branches inside it.

    Padding, dropout and reshaping are no calls: what they make is the map that they read. An `activation` argument of
    a convolution or dense layer is a call of its own. Of a `LiteResidual` the main layer is walked first, if it has
    one, then its branch; the branch's pooling, resizing and sum are no calls.

    Raises:
        ValueError: The model has no graph, or the size of its input is not known.
    """
    graph = graph_of(model)
    if graph is None:
        raise ValueError(
            f"Model {model.name!r} has no graph of layers to walk through: it must be functional, or Sequential and "
            "built. Convert it with `tinytl_keras.convert`, or rebuild it with the functional API."
        )
    inputs = []
    for tensor in graph.inputs:
        if None in tensor.shape[1:]:
            raise ValueError(
                f"The memory of model {model.name!r} depends on the size of its input, which is not known. Expected an "
                f"Input of a fixed size, e.g. Input((224, 224, 3)). Received: shape {tuple(tensor.shape)}"
            )
        inputs.append(_Value(Map("input", tuple(tensor.shape[1:])), tuple(tensor.shape[1:])))
    walk = _Walk(block_names(model))
    walk.graph(graph, inputs, "", "")
    return tuple(walk.calls)


@dataclass(frozen=True, eq=False)
class _Value:
    """A tensor of the graph: the map that it holds, and its own shape, which may be padded or flat."""

    map: Map
    shape: tuple[int, ...]


class _Walk:
    def __init__(self, blocks: dict[int, str]):
        self.calls: list[Call] = []
        self._blocks = blocks

    def graph(self, graph: Any, inputs: Sequence[_Value], path: str, block: str) -> list[_Value]:
        values = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for node in calls_in_order(graph):
            shapes = [tuple(tensor.shape[1:]) for tensor in node.outputs]
            if any(None in shape for shape in shapes):
                tensors = {key: _keras_tensor(value.shape) for key, value in values.items()}
                args, kwargs = node.arguments.fill_in(tensors)
                shapes = _shapes(node.operation.compute_output_spec(*args, **kwargs))
            inside = block or self._blocks.get(id(node.outputs[0]), "")
            read = [values[id(tensor)] for tensor in node.input_tensors]
            made = self.call(node.operation, read, shapes, path, inside)
            values.update(zip(map(id, node.outputs), made, strict=True))
        return [values[id(tensor)] for tensor in graph.outputs]

    def call(
        self, layer: Any, inputs: Sequence[_Value], shapes: Sequence[tuple[int, ...]], path: str, block: str
    ) -> list[_Value]:
        """Walks through a call of any layer or operation; `shapes` are those of its outputs, without the batch axis."""
        name = f"{path}/{layer.name}" if path else layer.name
        if isinstance(layer, FrozenLayer):
            return self.call(layer.layer, inputs, shapes, path, block)
        if graph_of(layer) is not None:
            return self.graph(graph_of(layer), inputs, name, block)
        if isinstance(layer, LiteResidual):
            return [self._lite_residual(layer, inputs, shapes[0], path, block)]
        if isinstance(layer, _SAME_VALUES):
            return [_Value(inputs[0].map, shapes[0])]
        read = tuple(dict.fromkeys(value.map for value in inputs))
        made = self._made(layer, name, block, read, shapes)
        if isinstance(layer, _WITH_ACTIVATION) and layer.activation is not keras.activations.linear:
            made = self._made(layer.activation, name, block, made, shapes)
        return [_Value(map_, map_.shape) for map_ in made]

    def _made(
        self, layer: Any, name: str, block: str, inputs: tuple[Map, ...], shapes: Sequence[tuple[int, ...]]
    ) -> tuple[Map, ...]:
        outputs = tuple(Map(name, tuple(shape)) for shape in shapes)
        self.calls.append(Call(layer, name, block, inputs, outputs))
        return outputs

    def _lite_residual(
        self, layer: LiteResidual, inputs: Sequence[_Value], shape: tuple[int, ...], path: str, block: str
    ) -> _Value:
        name = f"{path}/{layer.name}" if path else layer.name
        block = block or name
        if layer.main is not None:
            self.call(layer.main, inputs, [shape], path, block)
        *size, channels = inputs[0].shape
        if layer.is_global:
            size = (1, 1)
        elif layer.pool > 1:
            size = tuple(n // layer.pool for n in size)
        pooled = Map(name, (*size, channels)) if layer.is_global or layer.pool > 1 else inputs[0].map
        padding = 2 * (layer.group_conv.kernel_size[0] // 2)
        padded = (None, *(n + padding for n in size), channels)
        middle = tuple(layer.group_conv.compute_output_shape(padded)[1:])
        last = (*middle[:-1], layer.point_conv.filters)
        maps = (pooled,)
        for part, made in (
            (layer.group_conv, middle),
            (layer.norm, middle),
            (layer.activation, middle),
            (layer.point_conv, last),
            (layer.last_norm, last),
        ):
            of_layer = f"{name}/{part.name}" if isinstance(part, keras.layers.Layer) else f"{name}/activation"
            maps = self._made(part, of_layer, block, maps, [made])
        return _Value(Map(name, shape), shape)


def _keras_tensor(shape: tuple[int, ...]) -> keras.KerasTensor:
    return keras.KerasTensor((None, *shape), dtype=keras.config.floatx())


def _shapes(outputs: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(outputs)]
