"""What the blocks of a model are called, by what the names of their layers have in common."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras

from tinytl_keras._keras_compat import calls_in_order, graph_of
from tinytl_keras.blocks import blocks_of, shared_start


def block_names(model: keras.Model) -> dict[int, str]:
    """From the `id` of every tensor that an operation of a block makes, to the name of the block.

    A block is called after the start that the names of its convolutions share, up to a `_`, e.g. `block_3` for
    `block_3_expand` and `block_3_project`; where that is empty or two blocks share it, `<first layer>…<last layer>`.
    """
    found, _ = blocks_of(model)
    blocks = [block for graph in found for block in graph.blocks]
    starts = [shared_start(block) for block in blocks]
    uses = Counter(starts)
    names: dict[int, str] = {}
    for block, start in zip(blocks, starts, strict=True):
        unique = start and uses[start] == 1
        name = start if unique else f"{block.nodes[0].name}…{block.nodes[-1].name}"
        names.update((tensor, name) for node in block.nodes for tensor in node.outputs)
    return names


def blocks_of_layers(model: keras.Model) -> dict[str, str]:
    """From the name of every layer, in forward order and in models inside the model too, to its block's; "" for none.

    A model without a graph has its layers as it lists them, and no blocks.
    """
    if graph_of(model) is None:
        return {layer.name: "" for layer in model.layers}
    return dict(_layers(graph_of(model), block_names(model), ""))


def _layers(graph: Any, blocks: dict[int, str], outer: str) -> Iterator[tuple[str, str]]:
    for node in calls_in_order(graph):
        block = outer or blocks.get(id(node.outputs[0]), "")
        inner = graph_of(node.operation)
        if inner is None:
            yield node.operation.name, block
        else:
            yield from _layers(inner, blocks, block)
