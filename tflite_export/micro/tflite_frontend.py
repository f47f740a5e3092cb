"""A .tflite file that infers for the program's compiler; no TensorFlow."""

from __future__ import annotations

import pathlib

from tflite_export._export import forward_graph
from tflite_export._make_trainable import plain_graph, trainable_graph
from tflite_export.export_options import ExportOptions
from tflite_export.from_tflite.inference_file import read_inference_file
from tflite_export.from_tflite.rebatch import rebatched
from tflite_export.from_tflite.trainables import check_method, constants_of, frozen, trained_layers
from tflite_export.micro.frontend import Frontend


def tflite_frontend(
    path: pathlib.Path, options: ExportOptions, method: str, num_classes: int | None, seed: int
) -> Frontend:
    """
    Raises:
        FileNotFoundError, ValueError: as `make_trainable` does.
    """
    check_method(method)
    graph, branches = trainable_graph(plain_graph(read_inference_file(path)), method, num_classes, seed)
    graph = rebatched(graph, 1)

    def frozen_weights(trained: set[str]):
        return constants_of(frozen(graph, {v.name for v in graph.variables} - trained))

    layers = trained_layers(graph, branches)
    return Frontend(path.stem, forward_graph(graph, options), layers, branches, frozen_weights)
