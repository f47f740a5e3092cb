"""`activation_gradients="one_bit"`: what it computes, what it saves, and that verification knows of it."""

import contextlib
import json

import keras
import numpy as np
import pytest
from keras import layers

from tests.tflite_export.models import calibrated
from tflite_export import VerificationError, export, flatbuffer
from tflite_export._export import compile_model
from tflite_export.approximated_activations import one_bit_activations
from tflite_export.arena import plan
from tflite_export.export_options import ExportOptions
from tflite_export.keras_reference import KerasReference


def network(activation, size=16) -> keras.Model:
    """Depthwise-separable, all kernels but the head's frozen, biases trainable."""
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x)
    for i in range(2):
        x = layers.Conv2D(32, 1, name=f"expand_{i}")(activation(x) if i else x)
        x = layers.DepthwiseConv2D(3, padding="same", name=f"depthwise_{i}")(activation(x))
        x = layers.Conv2D(8, 1, name=f"project_{i}")(activation(x))
    x = layers.GlobalAveragePooling2D()(activation(x))
    model = calibrated(keras.Model(inputs, layers.Dense(4, name="head")(x)))
    import tinytl_keras

    return tinytl_keras.convert(model, "bias")


@pytest.mark.parametrize("function", [keras.activations.hard_swish, keras.activations.silu])
def test_the_reference_s_gradient_is_a_step(function):
    import tensorflow as tf

    x = tf.constant([-4.0, -1.0, -0.0, 0.0, 1e-3, 1.0, 4.0])
    with one_bit_activations(), tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(y, function(x))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    assert tape.gradient(y, x)[1] not in (0, 1)  # as it was


@pytest.mark.parametrize(
    ("activation", "options"),
    [("hard_swish", {"kernels": "builtin"}), ("silu", {"kernels": "xnnpack"}), ("hard_swish", {"runtime": "micro"})],
)
def test_an_exported_step_agrees_with_keras_s_approximated_one(activation, options, tmp_path):
    if "runtime" in options:
        pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    model = network(layers.Activation(activation))
    report = export(model, tmp_path / "step.tflite", activation_gradients="one_bit", **options)
    assert report.max_difference < 1e-3
    assert "approximated by one bit" in str(report)
    info = json.loads(flatbuffer.read((tmp_path / "step.tflite").read_bytes()).metadata["tinytl"])
    assert info["activation_gradients"] == "one_bit"


def test_verification_tells_the_two_apart(tmp_path, monkeypatch):
    """Keras takes the exact gradient."""
    monkeypatch.setattr(KerasReference, "_activations", lambda self: contextlib.nullcontext())
    with pytest.raises(VerificationError, match="differs from Keras's"):
        model = network(layers.Activation("hard_swish"))
        export(model, tmp_path / "step.tflite", kernels="builtin", activation_gradients="one_bit")
    assert not any(tmp_path.iterdir())


def test_what_is_written_out_by_hand_is_told(tmp_path):
    """The converter's graph is the same as that of Keras's swish; Keras itself cannot follow."""
    model = network(lambda x: layers.Multiply()([x, layers.Activation("sigmoid")(x)]))
    with pytest.raises(VerificationError, match="must be Keras's own"):
        export(model, tmp_path / "step.tflite", kernels="builtin", activation_gradients="one_bit")


@pytest.mark.parametrize(("activation", "kernels"), [("hard_swish", "builtin"), ("silu", "xnnpack")])
def test_no_float_map_waits_for_the_backward_pass(activation, kernels):
    """Between the loss and the first gradient only masks of one byte per element, and narrow maps, are alive."""

    def arena(gradients):
        options = ExportOptions(kernels=kernels, activation_gradients=gradients)
        compiled = compile_model(network(layers.Activation(activation), size=48), options)
        return sum(plan(graph).total_bytes for graph in compiled.training)

    assert arena("one_bit") < 0.75 * arena("exact")


def test_gelu_stays_exact():
    """As everything else does."""
    kinds = []
    for gradients in ("exact", "one_bit"):
        options = ExportOptions(kernels="builtin", activation_gradients=gradients)
        (step,) = compile_model(network(layers.Activation("gelu")), options).training
        kinds.append([op.kind for op in step.ops])
    assert kinds[0] == kinds[1]


def test_an_unknown_kind_of_gradient_is_refused(tmp_path):
    with pytest.raises(ValueError, match="activation_gradients must be one of 'exact', 'one_bit', got 'sign'"):
        export(network(layers.ReLU()), tmp_path / "step.tflite", activation_gradients="sign")
