"""Blocks that a user names: pairs of a block's input and output."""

from typing import Any

import keras

from tflite_export.topology import Block
from tinytl_keras.blocks import ModelBlocks


def block_between(graphs: list[ModelBlocks], pair: tuple[Any, Any]) -> tuple[ModelBlocks, Block]:
    """Makes the block that a pair names.

    Args:
        graphs: All graphs of the model.
        pair: The block's input and output: each the name of a layer, for that layer's output, or a Keras tensor of the
            model. The branch is added to the output right there, so name the end of the main path, not the Add behind.

    Returns:
        The graph that both are in, and the block.

    Raises:
        ValueError: One of them is not in the model or not clear, they are not in one graph, the second is not made
            from the first, or one is no map `[batch, height, width, channels]`.
    """
    (graph, block_input), (other, output) = (_find(graphs, end, pair) for end in pair)
    if graph is not other:
        raise ValueError(f"Both ends of a block must be in the same model. Received: blocks=[…, {pair!r}, …]")
    for tensor in (block_input, output):
        if len(graph.tensors[tensor].shape) != 4:
            raise ValueError(
                "Both ends of a block must be maps [batch, height, width, channels]. "
                f"Received: {pair!r}, with {tuple(graph.tensors[tensor].shape)}"
            )
    reached, nodes = {block_input}, []
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            nodes.append(node)
            reached.update(node.outputs)
    if output not in reached or output == block_input:
        raise ValueError(f"The output of a block must be made from its input. Received: blocks=[…, {pair!r}, …]")
    nodes = _needed_for(output, nodes)
    return graph, Block(tuple(nodes), block_input, output, output)


def _needed_for(output: int, nodes: list[Any]) -> list[Any]:
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]


def _find(graphs: list[ModelBlocks], end: Any, pair: Any) -> tuple[ModelBlocks, int]:
    if isinstance(end, keras.KerasTensor):
        places = [(graph, id(end)) for graph in graphs if id(end) in graph.tensors]
    elif isinstance(end, str):
        places = [(graph, tensor) for graph in graphs for tensor in graph.outputs_of(end)]
    else:
        raise ValueError(
            "An end of a block must be the name of a layer, for its output, or a Keras tensor of the model. "
            f"Received: {end!r} in blocks=[…, {pair!r}, …]"
        )
    if len(places) != 1:
        problem = "is not in the model" if not places else f"stands for {len(places)} tensors"
        raise ValueError(
            f"{end!r} of blocks=[…, {pair!r}, …] {problem}. "
            "Name a layer that is called once, or pass one of its tensors."
        )
    return places[0]
