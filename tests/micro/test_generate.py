"""Generated programs, compiled for this machine, against GradientTape."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import tflite_export
import tinytl_keras
from tests.micro import networks, toolchain
from tflite_export import micro
from tflite_export.micro.state import unpack

RATE = 0.03


@pytest.fixture(autouse=True)
def _compiler():
    toolchain.host_compiler()


def program(model, folder, **options):
    report = micro.generate(model, folder, name="net", **options)
    return report, micro.HostProgram(folder, "net")


def check_updates(model, before, host, tolerance=1e-4):
    """Every variable's update is Keras's, by the norm of the difference."""
    tensors = unpack(host.manifest, host.save()).tensors
    for variable in model.trainable_variables:
        expected = variable.numpy() - before[variable.path]
        difference = np.linalg.norm(tensors[variable.path] - before[variable.path] - expected)
        rounding = 1e-6 * np.linalg.norm(before[variable.path])
        assert difference <= tolerance * np.linalg.norm(expected) + rounding, variable.path
        assert np.linalg.norm(expected) > 0, f"{variable.path} does not move, so nothing is told"


def weights(model):
    return {v.path: v.numpy().copy() for v in model.trainable_variables}


OPTIMIZERS = {
    "sgd": ("sgd", lambda: keras.optimizers.SGD(RATE)),
    "momentum": (tflite_export.SGD(0.9), lambda: keras.optimizers.SGD(RATE, momentum=0.9)),
    "nesterov": (tflite_export.SGD(0.8, True), lambda: keras.optimizers.SGD(RATE, momentum=0.8, nesterov=True)),
    "decay": (tflite_export.SGD(weight_decay=0.1), lambda: keras.optimizers.SGD(RATE, weight_decay=0.1)),
    "adam": ("adam", lambda: keras.optimizers.Adam(RATE)),
    "adamw": (tflite_export.Adam(weight_decay=0.1), lambda: keras.optimizers.Adam(RATE, weight_decay=0.1)),
}


@pytest.mark.parametrize("method", ["last", "bias", "lite_residual", "lite_residual+bias", "full"])
def test_every_method_takes_keras_s_steps(method, tmp_path):
    model = networks.prepared(networks.inverted_residuals(), method)
    report, host = program(model, tmp_path)
    x, y = networks.pictures(model, 4), [0, 3, 1, 4]
    np.testing.assert_allclose(host.infer(x[0]), model(x[:1], training=False)[0], rtol=1e-4, atol=1e-4)
    assert report.quantization_difference < 1e-6  # the kernels are int8 already
    before = weights(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = networks.keras_steps(model, keras.optimizers.SGD(RATE), loss, x, y)
    got = [host.train_step(row, label, RATE)[0] for row, label in zip(x, y, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    check_updates(model, before, host, tolerance=1e-3)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name, tmp_path):
    ours, keras_s = OPTIMIZERS[name]
    model = networks.prepared(networks.inverted_residuals(), "bias")
    _, host = program(model, tmp_path, optimizer=ours)
    x, y, before = networks.pictures(model, 5), [1, 1, 0, 2, 4], weights(model)
    networks.keras_steps(model, keras_s(), keras.losses.SparseCategoricalCrossentropy(from_logits=True), x, y)
    for row, label in zip(x, y, strict=True):
        host.train_step(row, label, RATE)
    check_updates(model, before, host, tolerance=1e-2 if "adam" in name else 1e-3)


@pytest.mark.parametrize("method", ["bias", "full"])
def test_pools_relu_and_softmax(method, tmp_path):
    model = networks.prepared(networks.pools_and_relu(), method)
    _, host = program(model, tmp_path, label_smoothing=0.1)
    x, y, before = networks.pictures(model, 3), np.eye(3, dtype=np.float32), weights(model)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    expected = networks.keras_steps(model, keras.optimizers.SGD(RATE), loss, x, y)
    got = [host.train_step(row, label.argmax(), RATE)[0] for row, label in zip(x, y, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    check_updates(model, before, host, tolerance=1e-3)


def test_folded_batch_normalisation(tmp_path):
    """A scale for every output channel is what folding needs: int8 kernels stay exact. The state holds beta itself."""
    model = networks.prepared(networks.normalised(), "bias")
    report, host = program(model, tmp_path)
    x = networks.pictures(model, 1)
    np.testing.assert_allclose(host.infer(x[0]), model(x, training=False)[0], rtol=1e-4, atol=1e-4)
    assert report.quantization_difference < 1e-6
    tensors = unpack(host.manifest, host.save()).tensors
    for variable in model.trainable_variables:
        np.testing.assert_array_equal(tensors[variable.path], variable.numpy())


def test_normalisation_behind_a_bias_that_trains(tmp_path):
    """As `Conv2D` has one unless told otherwise."""
    model = networks.prepared(networks.normalised(use_bias=True), "bias")
    report, host = program(model, tmp_path)
    x, y, before = networks.pictures(model, 3), [0, 3, 1], weights(model)
    assert {"conv_0/bias", "norm_0/beta"} <= before.keys()
    np.testing.assert_allclose(host.infer(x[0]), model(x[:1], training=False)[0], rtol=1e-4, atol=1e-4)
    assert report.quantization_difference < 1e-6
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    networks.keras_steps(model, keras.optimizers.SGD(RATE), loss, x, y)
    for row, label in zip(x, y, strict=True):
        host.train_step(row, label, RATE)
    check_updates(model, before, host, tolerance=1e-3)


def test_kernels_that_int8_does_not_hold(tmp_path):
    model = networks.prepared(networks.normalised(), "bias")
    kernel = model.get_layer("conv_1").kernel
    kernel.assign(np.random.default_rng(3).normal(size=kernel.shape) * 0.2)
    report, host = program(model, tmp_path)
    x = networks.pictures(model, 1)
    expected = np.asarray(model(x, training=False))[0]
    assert 0 < np.linalg.norm(host.infer(x[0]) - expected) < 0.03 * np.linalg.norm(expected)
    assert 0 < report.quantization_difference < 0.03


LOSSES = {
    "categorical_crossentropy": (keras.losses.CategoricalCrossentropy(from_logits=True), [0.2, 0.5, 0.0, 0.3, 0.0]),
    "binary_crossentropy": (keras.losses.BinaryCrossentropy(from_logits=True), [1.0, 0.0, 0.0, 1.0, 1.0]),
    "mean_squared_error": (keras.losses.MeanSquaredError(), [0.3, -1.0, 0.2, 2.0, 0.0]),
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_dense_loss(name, tmp_path):
    loss, target = LOSSES[name]
    model = networks.prepared(networks.inverted_residuals(), "last")
    _, host = program(model, tmp_path, loss=name)
    x, y, before = networks.pictures(model, 2), np.array([target, target[::-1]], np.float32), weights(model)
    expected = networks.keras_steps(model, keras.optimizers.SGD(RATE), loss, x, y)
    got = [host.train_step(row, label, RATE)[0] for row, label in zip(x, y, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    check_updates(model, before, host, tolerance=1e-3)
    state = host.save()
    loss_of_none, _ = host.train_step(x[0], np.full(5, np.nan, np.float32), RATE)
    assert loss_of_none == 0
    assert host.save() == state


def test_pixels_are_a_quarter_of_the_floats(tmp_path):
    model = networks.prepared(networks.inverted_residuals(), "bias")
    _, floats = program(model, tmp_path)
    folder = tmp_path / "pixels"
    folder.mkdir()
    report, bytes_ = program(model, folder, input_dtype="uint8", input_scale=1 / 64, input_offset=-2.0)
    pixels = np.random.default_rng(5).integers(0, 256, model.input_shape[1:]).astype(np.uint8)
    x = (pixels / 64 - 2).astype(np.float32)
    np.testing.assert_allclose(bytes_.infer(pixels), floats.infer(x), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(bytes_.infer_in_arena(pixels), floats.infer(x), rtol=1e-5, atol=1e-5)
    assert report.input_bytes == pixels.size
    for label in (1, 0):
        assert bytes_.train_step(pixels, label, RATE)[0] == pytest.approx(floats.train_step(x, label, RATE)[0], 1e-5)


@pytest.mark.parametrize("what", ["a NaN", "an infinity", "no class", "a class too many"])
def test_a_step_that_cannot_count_leaves_no_trace(what, tmp_path):
    model = networks.prepared(networks.inverted_residuals(), "bias")
    _, host = program(model, tmp_path, optimizer=tflite_export.SGD(0.9), verify=False)
    x = networks.pictures(model, 1)[0]
    host.train_step(x, 0, RATE)
    state, label = host.save(), {"no class": -1, "a class too many": 5}.get(what, 2)
    if label == 2:
        x[3, 3, 1] = np.nan if what == "a NaN" else np.inf
    loss, correct = host.train_step(x, label, RATE)
    assert host.save() == state
    assert np.isnan(loss) if label == 2 else (loss, correct) == (0, 0)


def test_a_tflite_file(tmp_path):
    """Its program agrees with the numpy evaluator (verify), and with its own inference."""
    import tensorflow as tf

    model = networks.prepared(networks.inverted_residuals(), "last")
    path = tmp_path / "inference.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    report, host = program(path, tmp_path, method="lite_residual+bias", optimizer="adam")
    assert report.max_difference < 1e-2
    x = networks.pictures(model, 1)
    np.testing.assert_allclose(host.infer(x[0]), model(x, training=False)[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("activations", ["float32", "int8"])
def test_a_stride_that_leaves_rows_unread(activations, tmp_path):
    """No window reads the last row: its gradient is 0, and no row by row kernel makes it."""
    x = inputs = keras.Input((32, 5, 2))
    x = keras.layers.Conv2D(5, 3, padding="same", activation="relu", name="first")(x)
    x = keras.layers.Conv2D(6, 5, strides=2, activation="relu", name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = networks.prepared(keras.Model(inputs, keras.layers.Dense(4, name="head")(x)), "bias")
    calibration = networks.pictures(model, 4) if activations == "int8" else None
    report = micro.generate(model, tmp_path, activations=activations, calibration=calibration)
    assert report.max_difference < 1e-3


def test_refusals_name_the_layer(tmp_path):
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="gelu", name="smooth")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = tinytl_keras.convert(keras.Model(inputs, keras.layers.Dense(2)(x)), "bias")
    with pytest.raises(ValueError, match="'smooth'.*no C kernel"):
        micro.generate(model, tmp_path)
    wide = keras.Input((17, 17, 1))
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(17, name="whole")(keras.layers.Conv2D(2, 1)(wide)))
    with pytest.raises(ValueError, match="'whole'.*at most 256 pixels, got 17 x 17"):
        micro.generate(tinytl_keras.convert(keras.Model(wide, keras.layers.Dense(2)(x)), "bias"), tmp_path)
    with pytest.raises(ValueError, match="'norm_0'.*its scale trains.*convert\\(model, 'bias'\\)"):
        micro.generate(networks.normalised(), tmp_path)
    with pytest.raises(FileNotFoundError, match="no folder"):
        micro.generate(model, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="input_dtype"):
        micro.generate(model, tmp_path, input_dtype="int4")
