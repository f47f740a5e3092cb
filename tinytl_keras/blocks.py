"""Keras graph -> the plain nodes and edges in which `tflite_export.topology` finds blocks."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from tflite_export.topology import Block, Node, Topology, find_blocks
from tinytl_keras._block_classes import is_registered_block
from tinytl_keras._classifier import gives_probabilities
from tinytl_keras._keras_compat import calls_in_order, graph_of, layers_within, producer
from tinytl_keras.layers import FrozenLayer, LiteResidual

_BY_CLASS = (
    (LiteResidual, "branch"),
    (keras.layers.DepthwiseConv2D, "depthwise"),
    ((keras.layers.SeparableConv2D, keras.layers.Conv2DTranspose), "convolution"),
    (keras.layers.Dense, "pointwise"),
    (keras.layers.ZeroPadding2D, "pad"),
    ((keras.layers.Dropout, keras.layers.SpatialDropout2D, keras.layers.GaussianDropout), "identity"),
)
_NOT_ON_MAPS = (  # blocks of these are told of, and get no branch
    (keras.layers.DepthwiseConv1D, "depthwise"),
    ((keras.layers.Conv1D, keras.layers.SeparableConv1D, keras.layers.Conv3D), "convolution"),
)
_NAMED = ("convolution", "depthwise", "pointwise")  # what a block is called after
_JOINS = {"Add": "add", "Concatenate": "concat"}  # layers, and operations of keras.ops


@dataclass(frozen=True)
class ModelBlocks:
    """The blocks of one graph: of a model, or of a model inside it.

    Attributes:
        graph: The graph, as `graph_of` gives it.
        nodes: Its operations, in order. Tensors are `id(keras_tensor)`, names are layer names.
        blocks: Its blocks, in order.
        tensors: From tensor ids to the Keras tensors of the graph.
        layers: From tensor ids to the operation that made the tensor; none for the graph's inputs.
    """

    graph: Any
    nodes: tuple[Node, ...]
    blocks: tuple[Block, ...]
    tensors: dict[int, keras.KerasTensor]
    layers: dict[int, Any]

    def outputs_of(self, name: str) -> list[int]:
        """The tensors that the layer of this name makes in this graph, an InputLayer included."""
        made = [tensor for node in self.nodes if node.name == name for tensor in node.outputs]
        return made + [id(tensor) for tensor in self.graph.inputs if producer(tensor)[0].operation.name == name]


def blocks_of(model: keras.Model) -> tuple[list[ModelBlocks], list[str]]:
    """Finds the blocks of a model and of the models inside it.

    A model inside the model that a block holds whole, or that has only one convolution, is an operation like
    any other, in which no blocks are looked for.

    Args:
        model: A functional or built Sequential model.

    Returns:
        The blocks, graph by graph, the outer one's first, and a description of every region that may hold
        blocks and cannot be seen into.
    """
    found: list[ModelBlocks] = []
    unseen: list[str] = []
    for blocks, regions in _graphs(graph_of(model), set()):
        found.append(blocks)
        for region in regions:
            spatial = [node for node in region if node.kind in ("convolution", "depthwise", "hidden", "block")]
            if not all(graph_of(blocks.layers[node.outputs[0]]) for node in spatial):
                unseen.append(_describe(region, blocks))
    return found, unseen


def shared_start(block: Block) -> str:
    """What the names of a block's convolutions begin with, up to a `_`; "" if that is nothing, or one convolution's."""
    names = [node.name for node in block.nodes if node.kind in _NAMED]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names))
    return "".join(letters[0] for letters in alike).rpartition("_")[0] if len(names) > 1 else ""


def _graphs(
    graph: Any, seen: set[int], searched: bool = True
) -> Iterator[tuple[ModelBlocks, tuple[tuple[Node, ...], ...]]]:
    """The blocks and the unseen regions of a graph, and then of the graphs inside it that are not yet seen."""
    if id(graph) in seen:
        return
    seen.add(id(graph))
    nodes, tensors, layers = _plain_view(graph)
    topology = Topology((), ())
    if searched:
        topology = find_blocks(nodes, map(id, graph.inputs), map(id, graph.outputs))
    found = [block for block in topology.blocks if not gives_probabilities(layers[block.main])]  # else an output layer
    on_maps = [block for block in found if _is_map(tensors[block.input]) and _is_map(tensors[block.main])]
    others = tuple(block.nodes for block in found if block not in on_maps)
    yield ModelBlocks(graph, tuple(nodes), tuple(on_maps), tensors, layers), (*topology.unseen, *others)
    within = {id(layers[node.outputs[0]]) for block in topology.blocks for node in block.nodes}
    for node in nodes:
        operation = layers[node.outputs[0]]
        if graph_of(operation):
            yield from _graphs(
                graph_of(operation), seen, searched and node.kind == "hidden" and id(operation) not in within
            )


def _is_map(tensor: keras.KerasTensor) -> bool:
    return len(tensor.shape) == 4 and tensor.shape[-1] is not None


def _plain_view(graph: Any) -> tuple[list[Node], dict[int, Any], dict[int, Any]]:
    nodes = []
    tensors = {id(tensor): tensor for tensor in graph.inputs}
    layers: dict[int, Any] = {}
    for call in calls_in_order(graph):
        node = _plain_node(call)
        nodes.append(node)
        tensors.update((id(tensor), tensor) for tensor in call.outputs)
        layers.update(dict.fromkeys(node.outputs, call.operation))
    return nodes, tensors, layers


def _plain_node(call: Any) -> Node:
    inputs, outputs = call.input_tensors, call.outputs
    return Node(
        name=call.operation.name,
        kind=_kind(call),
        inputs=tuple(map(id, inputs)),
        outputs=tuple(map(id, outputs)),
        channels=outputs[0].shape[-1] if outputs[0].shape else None,
        strides=_strides(call.operation),
    )


def _kind(call: Any) -> str:
    if isinstance(call.operation, LiteResidual):
        return "branch"
    layer = _unwrap(call.operation)
    several = len({id(tensor) for tensor in call.input_tensors}) > 1
    if several:
        return _JOINS.get(type(layer).__name__, "hidden" if _is_hidden(layer) else "other")
    if is_registered_block(_within_wrapper(call.operation)):
        return "block"
    on_map = len(call.outputs[0].shape) == 4
    for cls, kind in _BY_CLASS:
        if isinstance(layer, cls) and on_map:
            return kind
    for cls, kind in _NOT_ON_MAPS:
        if isinstance(layer, cls):
            return "pointwise" if set(layer.kernel_size) == {1} else kind
    if _is_hidden(layer):
        return "hidden"
    kernels = _kernels(layer)
    if kernels and on_map:
        return "convolution" if _is_spatial(kernels) else "pointwise"
    if "norm" in type(layer).__name__.lower():
        return "norm"
    return "activation" if [tensor.shape for tensor in call.input_tensors] == [call.outputs[0].shape] else "other"


def _within_wrapper(operation: Any) -> Any:
    """The layer that `convert` has put in a `FrozenLayer`, else the layer itself."""
    return operation.layer if isinstance(operation, FrozenLayer) else operation


def _unwrap(operation: Any) -> Any:
    """The only layer with a convolution's kernel in a model or wrapper of several layers, else the layer itself."""
    if not isinstance(operation, keras.layers.Layer):
        return operation
    holders = [layer for layer in layers_within(operation) if len(layers_within(layer)) == 1 and _kernels(layer)]
    return holders[0] if len(holders) == 1 else operation


def _kernels(layer: Any) -> list[keras.Variable]:
    return [weight for weight in getattr(layer, "weights", ()) if len(weight.shape) == 4]


def _is_spatial(kernels: list[keras.Variable]) -> bool:
    return any(math.prod(kernel.shape[:2]) > 1 for kernel in kernels)


def _is_hidden(layer: Any) -> bool:
    kernels = _kernels(layer)
    return len(kernels) > 1 and _is_spatial(kernels)


def _strides(operation: Any) -> tuple[int, int]:
    """How many rows and columns of the input one of the output stands for; 1 where Keras does not say."""
    steps = getattr(_within_wrapper(_unwrap(operation)), "strides", None)
    if isinstance(steps, int):
        return (steps, steps)
    return tuple(steps) if steps is not None and len(steps) == 2 else (1, 1)


def _describe(region: tuple[Node, ...], blocks: ModelBlocks) -> str:
    first, last, layers = region[0], region[-1], blocks.layers
    if len(region) == 1:
        kind = type(_within_wrapper(layers[first.outputs[0]])).__name__
        return (
            f"layer {first.name!r} ({kind}), which is made of several convolutions (if every {kind} is one block, say "
            f"so by tinytl_keras.register_block({kind}))"
        )
    told = f"the {len(region)} operations from {first.name!r} to {last.name!r}, in which no block can be told apart"
    shape = tuple(blocks.tensors[last.outputs[0]].shape)
    return told if len(shape) == 4 else f"{told} that has maps [batch, height, width, channels]: it makes {shape}"
