"""Every private name of Keras that this package needs, and nothing else. Checked with Keras 3.15."""

from collections.abc import Iterator
from typing import Any

import keras
from keras.src.models.functional import Functional
from keras.src.ops.node import Node
from keras.src.saving.serialization_lib import SafeModeScope


def graph_of(operation: Any) -> Functional | None:
    """The graph of calls that a functional or a built Sequential model runs; None for anything else.

    A subclass that overrides `call` computes something that its graph does not show: None as well.
    """
    if isinstance(operation, keras.Sequential) and type(operation).call is keras.Sequential.call:
        return operation._functional
    if isinstance(operation, Functional) and type(operation).call is Functional.call:
        return operation
    return None


def calls_in_order(graph: Functional) -> Iterator[Node]:
    """The graph's calls, each behind the calls whose outputs it reads, inputs left out."""
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def producer(tensor: keras.KerasTensor) -> tuple[Node, int]:
    """The call that made a symbolic tensor, and the tensor's place among the call's outputs."""
    operation, node_index, tensor_index = tensor._keras_history
    return operation._inbound_nodes[node_index], tensor_index


def layers_within(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layer itself and all layers that it holds, at any depth, in the order of their creation."""
    return list(layer._flatten_layers())


def own_trainable_by_nature(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The layer's own weights that it was built to train, whatever its `trainable` and `frozen` say now."""
    return layer._trainable_variables


def trainable_by_nature(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The same of the layer and of all layers that it holds."""
    return [weight for inner in layers_within(layer) for weight in own_trainable_by_nature(inner)]


def from_own_config(cls: type, config: dict[str, Any]) -> Any:
    """`cls.from_config(config)` for a config that this process has just made, so lambdas in it are trusted."""
    with SafeModeScope(False):
        return cls.from_config(config)
