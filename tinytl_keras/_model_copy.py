"""Copies the graph of a model call by call, with another layer in each layer's place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tinytl_keras._branches import Branch
from tinytl_keras._freeze import call_copy, copy_of_branch, frozen_copy, frozen_in_branch
from tinytl_keras._keras_compat import calls_in_order, graph_of, layers_within, producer
from tinytl_keras.layers import FrozenLayer, LiteResidual


class ModelCopy:
    """One run of `convert`. Remembers which copy stands for which layer, so that shared layers stay shared.

    The walk is over calls, not over layers: a layer that is called twice has two places in the graph.

    Args:
        method: The method whose weights train.
        classifiers: Layers that train whole, whatever the method.
        branches: From the `id` of a tensor of the original to the lite residual branches that are added to it.
    """

    def __init__(
        self,
        method: str,
        classifiers: list[keras.layers.Layer],
        branches: Mapping[int, Sequence[Branch]],
    ):
        self._method = method
        self._branches = branches
        self._classifiers = {id(layer) for layer in classifiers}
        self._copies: dict[int, tuple[Any, Any]] = {}

    def model(self, model: keras.Model, cut: tuple[Any, ...] = (), head: Callable | None = None) -> keras.Model:
        """Copies a model and the models inside it, without the values of their weights.

        Args:
            model: A functional or built Sequential model.
            cut: The call of the old classifier, as `find_classifier` gives it: it is replaced by `head`, and
                nothing behind it is copied. Empty: `head` goes behind the model's output.
            head: A function from features to the new output. None: the model keeps its outputs.

        Returns:
            A functional model of the same name, and the same layer names.
        """
        graph = graph_of(model)
        inputs = keras.tree.map_structure(_copy_input, graph.input)
        tensors = dict(zip(map(id, graph.inputs), keras.tree.flatten(inputs), strict=True))
        for node in calls_in_order(graph):
            args, kwargs = node.arguments.fill_in(tensors)
            if node in cut[:1]:
                part = self._cut_model(node.operation, cut[1:], head) if cut[1:] else head
                return keras.Model(inputs, part(*args, **kwargs), name=model.name)
            results = call_copy(node.operation, self._copy(node.operation), args, kwargs)
            tensors.update(zip(map(id, node.outputs), keras.tree.flatten(results), strict=True))
            for place in map(id, node.outputs):
                for branch in self._branches.get(place, ()):
                    layer = branch.layer(frozen_in_branch(self._method))
                    tensors[place] = layer(tensors[branch.input], tensors[place])
        outputs = keras.tree.map_structure(lambda tensor: tensors[id(tensor)], graph.output)
        return keras.Model(inputs, head(outputs) if head else outputs, name=model.name)

    def copy_weights(self) -> None:
        """Copies the values of all weights, the way that Keras saves and loads them."""
        for layer, copy in self._copies.values():
            if isinstance(layer, keras.layers.Layer) and not graph_of(layer):
                for old, new in zip(_own_layers(layer), _own_layers(copy), strict=True):
                    values: dict[str, Any] = {}
                    old.save_own_variables(values)
                    if values:
                        new.load_own_variables(values)

    def _copy(self, operation: Any) -> Any:
        if id(operation) not in self._copies:
            if graph_of(operation):
                copy = self.model(operation)
            elif isinstance(operation, LiteResidual):
                main = None if operation.main is None else self._copy(operation.main)
                copy = copy_of_branch(operation, main, self._method)
            else:
                copy = frozen_copy(_unwrap(operation), self._method, id(operation) in self._classifiers)
            self._copies[id(operation)] = (operation, copy)
        return self._copies[id(operation)][1]

    def _cut_model(self, model: keras.Model, cut: tuple[Any, ...], head: Callable) -> keras.Model:
        if id(model) in self._copies:
            raise ValueError(
                f"The classifier to replace is in model {model.name!r}, which is called more than once, and only its "
                "last call is a classifier. Pass num_classes=None, or give the last call a model of its own."
            )
        return self.model(model, cut, head)


def _copy_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    input_layer = producer(tensor)[0].operation
    return keras.layers.InputLayer.from_config(input_layer.get_config()).output


def _own_layers(layer: keras.layers.Layer) -> Sequence[keras.layers.Layer]:
    """The layers whose weights are copied for this one; the main layer of a lite residual has its own copy."""
    return layer.branch_layers if isinstance(layer, LiteResidual) else layers_within(_unwrap(layer))


def _unwrap(layer: Any) -> Any:
    return layer.layer if isinstance(layer, FrozenLayer) else layer
