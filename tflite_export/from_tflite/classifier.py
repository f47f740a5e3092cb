"""The classifier at the end of a graph, and a new one in its place."""

from __future__ import annotations

import math

import numpy as np

from tflite_export.builder import Builder
from tflite_export.from_tflite.weights import Layer, layers_of, unique_names
from tflite_export.graph import Graph, Tensor, Variable, producers
from tflite_export.passes.dead_code import remove_dead_code

HEAD = "head"
_PROBABILITIES = ("SOFTMAX", "LOG_SOFTMAX", "LOGISTIC")
# What may stand between the classifier and the output: it has no weights.
_WITHOUT_WEIGHTS = (
    *(*_PROBABILITIES, "RELU", "RELU6", "TANH"),
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D"),
)


def find_classifier(graph: Graph, layers: list[Layer]) -> Layer | None:
    """The layer that the output comes from through operators without weights, if that is a matrix product or a 1x1
    convolution on one point; or on a map, where the average of what it gives there becomes probabilities (SqueezeNet).
    None: the output is a map or a vector of features."""
    table, ends = producers(graph.ops), {layer.end: layer for layer in layers}
    (output,) = graph.outputs.values()
    tensor, becomes_probabilities = output, False
    while (op := table.get(tensor)) is not None:
        if op in ends:
            averaged = becomes_probabilities and output.size == output.shape[0] * op.outputs[0].shape[-1]
            return ends[op] if _is_classifier(ends[op], averaged) else None
        if op.kind not in _WITHOUT_WEIGHTS:
            return None
        becomes_probabilities |= op.kind in _PROBABILITIES
        tensor = op.inputs[0]
    return None


def _is_classifier(layer: Layer, averaged: bool) -> bool:
    if layer.op.kind == "CONV_2D":
        on_one_point = math.prod(layer.op.outputs[0].shape[1:3]) == math.prod(layer.data.shape[1:3]) == 1
        return (on_one_point or averaged) and layer.kernel.tensor.shape[1:3] == (1, 1)
    return layer.op.kind in ("FULLY_CONNECTED", "BATCH_MATMUL")


def _features(graph: Graph, classifier: Layer | None) -> Tensor:
    """What a new classifier reads: the old one's features, or else the output before it becomes probabilities."""
    if classifier is not None:
        return classifier.data
    table = producers(graph.ops)
    (tensor,) = graph.outputs.values()
    while (op := table.get(tensor)) is not None and op.kind in _PROBABILITIES:
        tensor = op.inputs[0]
    return tensor


def with_new_head(graph: Graph, classifier: Layer | None, classes: int, random: np.random.Generator) -> Graph:
    """`graph` with a linear classifier of `classes` outputs on the features of the old one, or on the output.

    It is what the export of a Keras ``Dense`` gives: variables ``head/kernel`` float32 [features, classes], drawn
    from Keras's ``glorot_uniform``, and ``head/bias``, zeros; ``head_1/…`` where a layer of the file is called so.
    Features [batch, …, channels] are averaged first. A softmax or sigmoid at the end is left out.

    Raises:
        ValueError: the features have no batch in front.
    """
    (output,) = graph.outputs
    features = _features(graph, classifier)
    graph = remove_dead_code(graph.replace(outputs={output: features}))
    (name,) = unique_names([HEAD], (layer.name for layer in layers_of(graph)))
    (x,) = graph.inputs.values()
    b = Builder(name)
    flattens = classifier is not None and features.size == x.shape[0] * classifier.kernel.tensor.shape[-1]
    if classifier is not None and classifier.op.kind == "FULLY_CONNECTED" and flattens:
        y = b.reshape(features, (x.shape[0], features.size // x.shape[0]))
    else:
        y = _pooled(b, features, x.shape[0])
    count = y.shape[1]
    kernel = Variable(f"{name}/kernel", glorot_uniform(random, (count, classes), count, classes))
    bias = Variable(f"{name}/bias", np.zeros(classes, np.float32))
    y = b.op("BATCH_MATMUL", (y, b.read(kernel)), (y.shape[0], classes), adj_x=False, adj_y=False)
    y = b.add(y, b.read(bias))
    return graph.replace(outputs={output: y}, ops=(*graph.ops, *b.ops))


def _pooled(b: Builder, features: Tensor, batch: int) -> Tensor:
    """[batch, channels]."""
    shape = features.shape
    if len(shape) < 2 or shape[0] != batch:
        raise ValueError(
            f"num_classes needs features [batch, …, channels] to put a classifier on; the file has {features} there"
        )
    between = range(1, len(shape) - 1)
    if math.prod(shape[1:-1]) > 1:
        return b.reduce("MEAN", features, between)
    return b.reshape(features, (batch, shape[-1]))


def glorot_uniform(random: np.random.Generator, shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
    """Keras's initial values of kernels: uniform between ±sqrt(6 / (fan_in + fan_out)), float32."""
    limit = math.sqrt(6 / (fan_in + fan_out))
    return random.uniform(-limit, limit, shape).astype(np.float32)
