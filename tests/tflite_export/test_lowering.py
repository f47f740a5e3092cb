"""Keras models to forward graphs: what the converter makes of them, and who is named when it cannot."""

from collections import Counter

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tests.tflite_export.models import calibrated, plain_cnn, residual_network
from tflite_export import flatbuffer, lowering
from tflite_export.autodiff import NotDifferentiable
from tflite_export.evaluate import evaluate
from tflite_export.losses import SparseCategoricalCrossentropy
from tflite_export.optimizers import SGD
from tflite_export.passes.canonical import canonicalise
from tflite_export.training import OptimizerState, training_step


def lowered(model, batch_size=1):
    return lowering.lower(model, batch_size, lowering.trainable_variables(model))


def histogram(graph):
    return dict(Counter(op.kind for op in graph.ops))


def mobilenet_v2():
    return calibrated(keras.applications.MobileNetV2((64, 64, 3), alpha=0.35, weights=None, classes=10))


def mobilenet():
    return calibrated(keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None, classes=10))


GOLDEN = {
    # TF's converter drifts: a change here is a pattern that the compiler has not been shown.
    mobilenet_v2: {
        "READ_VARIABLE": 54, "SUB": 52, "CONV_2D": 35, "DEPTHWISE_CONV_2D": 17, "ADD": 63, "MEAN": 1,
        "BATCH_MATMUL": 1, "SOFTMAX": 1,
    },
    mobilenet: {
        "READ_VARIABLE": 29, "SUB": 27, "CONV_2D": 15, "DEPTHWISE_CONV_2D": 13, "ADD": 28, "MEAN": 1,
        "TRANSPOSE": 1, "RESHAPE": 1, "SOFTMAX": 1,
    },
    plain_cnn: {
        "READ_VARIABLE": 6, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 1, "ADD": 5, "MAX_POOL_2D": 2, "AVERAGE_POOL_2D": 1,
        "FULLY_CONNECTED": 1, "TANH": 1, "BATCH_MATMUL": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("network", GOLDEN, ids=lambda function: function.__name__)
def test_golden_histograms(network):
    assert histogram(lowered(tinytl_keras.convert(network(), "bias"))) == GOLDEN[network]


@pytest.mark.parametrize("network", [residual_network, plain_cnn])
@pytest.mark.parametrize("method", ["last", "bias", "full"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_lowered_and_canonical_graphs_compute_what_keras_computes(network, method, batch_size):
    model = tinytl_keras.convert(network(), method)
    graph = lowered(model, batch_size)
    x = np.random.default_rng(0).normal(size=(batch_size, *model.input_shape[1:])).astype(np.float32)
    expected = np.asarray(model(x, training=False))
    np.testing.assert_allclose(evaluate(graph, {"x": x})["output"], expected, atol=2e-6)
    np.testing.assert_allclose(evaluate(canonicalise(graph), {"x": x})["output"], expected, atol=2e-6)


def test_canonical_form_has_no_fused_activation_no_bias_and_no_separate_padding():
    graph = canonicalise(lowered(tinytl_keras.convert(mobilenet_v2(), "bias")))
    assert all(op.attributes.get("fused_activation_function", "NONE") == "NONE" for op in graph.ops)
    convolutions = [op for op in graph.ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert all(op.inputs[2] is None and not isinstance(op.attributes["padding"], str) for op in convolutions)
    assert not {"PAD", "FULLY_CONNECTED", "BATCH_MATMUL"} & set(histogram(graph))


def test_operators_know_their_keras_layer():
    model = tinytl_keras.convert(residual_network(), "bias")
    origins = {op.origin for op in lowered(model).ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")}
    assert {"stem", "strided_expand", "shortcut_expand", "shortcut_project"} <= origins
    assert origins <= {layer.name for layer in model.layers}


def test_variables_are_copies_named_by_path():
    model = tinytl_keras.convert(residual_network(), "bias")
    variables = lowering.trainable_variables(model)
    assert [v.name for v in variables] == [v.path for v in model.trainable_variables]
    before = variables[0].initial.copy()
    model.trainable_variables[0].assign_add(np.ones_like(before))
    np.testing.assert_array_equal(variables[0].initial, before)


def test_the_stock_file_is_the_plain_converters():
    graph = flatbuffer.read(lowering.stock_inference_file(residual_network(), 2)).signatures[0]
    assert "READ_VARIABLE" not in histogram(graph)
    assert next(iter(graph.inputs.values())).shape == (2, 17, 17, 3)


def test_an_operator_that_tflite_lacks_names_the_layer():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Lambda(lambda x: keras.ops.erfinv(x * 0.01), name="inverse_error"),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match=r"no builtin operator for layer 'inverse_error' \(tf.Erfinv\)"):
        lowered(model)


def test_control_flow_names_the_layer():
    model = keras.Sequential([keras.Input((6, 3)), layers.LSTM(4, name="memory"), layers.Dense(2)])
    with pytest.raises(ValueError, match="layer 'memory' needs WHILE, .* unroll=True"):
        lowered(tinytl_keras.convert(model, "last"))


def test_a_loop_of_ones_own_is_told_what_works_instead():
    halved = layers.Lambda(
        lambda x: keras.ops.while_loop(lambda v: keras.ops.max(v) > 1, lambda v: (v / 2,), (x,))[0], name="halve"
    )
    model = keras.Sequential([keras.Input((6,)), halved, layers.Dense(2)])
    with pytest.raises(ValueError, match=r"layer 'halve' needs WHILE, .* without keras.ops.while_loop"):
        lowered(model)


def test_an_operator_without_a_gradient_names_the_layer():
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.floor(layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    graph = canonicalise(lowered(tinytl_keras.convert(model, "bias")))
    with pytest.raises(NotDifferentiable, match="layer '[Ff]loor': no gradient rule for FLOOR.*behind it: train_from="):
        training_step(graph, SparseCategoricalCrossentropy(), SGD(), OptimizerState.of(SGD(), graph.variables))
