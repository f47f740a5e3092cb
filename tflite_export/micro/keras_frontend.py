"""A Keras model for the program's compiler."""

from __future__ import annotations

from tflite_export import lowering
from tflite_export._export import forward_graph
from tflite_export.export_options import ExportOptions
from tflite_export.micro.frontend import Frontend
from tflite_export.train_from import keras_layers
from tflite_export.validation import check_model


def keras_frontend(model, options: ExportOptions) -> Frontend:
    """
    Raises:
        TypeError, ValueError: as `export` does.
    """
    check_model(model, "micro")
    variables = lowering.trainable_variables(model)
    canonical = forward_graph(lowering.lower(model, 1, variables), options)
    layers = keras_layers(model)
    branches = [name for name, paths in layers if any("/group_conv/" in path for path in paths)]

    def frozen_weights(trained: set[str]):
        return lowering.frozen_weights(model, tuple(v for v in variables if v.name in trained))

    return Frontend(model.name, canonical, layers, branches, frozen_weights)
