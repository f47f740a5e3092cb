"""C operators raised to the compiler's own compute what the model computes, and read weights as Keras keeps them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.micro import networks
from tflite_export import losses, lowering
from tflite_export._export import forward_graph
from tflite_export.evaluate import evaluate
from tflite_export.export_options import ExportOptions
from tflite_export.micro.build import build
from tflite_export.micro.calibration import Calibration
from tflite_export.micro.raised import raised


@pytest.mark.parametrize("method", ["lite_residual+bias", "full"])
def test_the_forward_pass_is_the_model_s(method):
    model = networks.prepared(networks.inverted_residuals(16, 14), method)
    canonical = forward_graph(lowering.lower(model, 1, lowering.trainable_variables(model)), ExportOptions())
    loss = losses.resolve("sparse_categorical_crossentropy", 0.0, "linear", 5)
    x = networks.pictures(model, 2)
    for calibration in (None, Calibration(x)):
        program = build(canonical, [v.name for v in canonical.variables], loss, calibration=calibration)
        graph, found = raised(program.forward, program.layouts)
        assert {v.name: v.shape for v in graph.variables} == {v.name: v.shape for v in canonical.variables}
        assert set(found) >= {op.outputs[0] for op in program.forward.ops}
        for picture in x:
            got = evaluate(graph, {"x": picture[None]})["logits"]
            expected = np.asarray(model(picture[None], training=False))
            np.testing.assert_allclose(got.ravel(), expected.ravel(), rtol=1e-4, atol=1e-4)


def test_ranges_are_those_of_every_sample():
    model = networks.prepared(networks.normalised(), "bias")
    canonical = forward_graph(lowering.lower(model, 1, lowering.trainable_variables(model)), ExportOptions())
    loss = losses.resolve("sparse_categorical_crossentropy", 0.0, "linear", 4)
    program = build(canonical, [v.name for v in canonical.variables], loss)
    x = networks.pictures(model, 5)
    ranges = Calibration(x).ranges(program.forward, program.layouts)
    (logits,) = program.forward.outputs.values()
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(ranges[logits], (expected.min(), expected.max()), rtol=1e-3)
    assert ranges[program.forward.inputs["x"]] == (x.min(), x.max())
    assert all(low <= high for low, high in ranges.values())


def test_samples_that_overflow_are_refused():
    model = networks.prepared(networks.pools_and_relu(), "bias")
    canonical = forward_graph(lowering.lower(model, 1, lowering.trainable_variables(model)), ExportOptions())
    loss = losses.resolve("sparse_categorical_crossentropy", 0.0, "softmax", 3)
    calibration = Calibration(np.full((1, *model.input_shape[1:]), 3e38, np.float32))
    with pytest.raises(ValueError, match="not finite on the calibration samples"):
        build(canonical, [v.name for v in canonical.variables], loss, calibration=calibration)
