"""The table of Keras models: what counts as what, weights that make a problem well posed, and rows from the program."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import zoo
import zoo_models
from calm_weights import calm, random_inputs
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export.autodiff.registry import NotDifferentiable

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("sequential CNN", "dense autoencoder", "shared layers", "two inputs", "two outputs", "keyword spotting 1-D")


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "zoo.py", *arguments]
    return subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=False)


def test_a_row_trains_and_is_kept(tmp_path):
    results = tmp_path / "zoo.json"
    first = run("--filter=dense autoencoder bias", f"--results={results}", "--kernels=builtin")
    assert first.returncode == 0, first.stderr
    (row,) = json.loads(results.read_text())["rows"].values()
    assert row["verdict"] == "trains" and row["worst"] <= 1e-3
    assert row["operators"] > 50 and row["branches"] == 0
    assert 0 < row["stock_bytes"] <= row["train_bytes"] < row["growth_bytes"]
    assert "dense autoencoder  bias" in first.stdout and "1 trains, 0 by step, 0 explained, 0 FAIL" in first.stdout

    seconds = row["seconds"]
    row["worst"], row["verdict"] = 0.5, "FAIL"
    content = json.loads(results.read_text())
    content["rows"] = dict.fromkeys(content["rows"], row)
    results.write_text(json.dumps(content))
    again = run("--filter=dense autoencoder bias", f"--results={results}", "--kernels=builtin")
    assert again.returncode == 1 and "0 trains" in again.stdout and "1 FAIL" in again.stdout
    assert f"{seconds:.0f}" in again.stdout


def error_of(function, *arguments, **options):
    with pytest.raises(Exception) as caught:
        function(*arguments, **options)
    return caught.value


def test_only_our_own_refusals_are_explanations():
    linear = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    assert zoo.is_explained(error_of(tinytl_keras.convert, linear, "all"))
    assert zoo.is_explained(error_of(tflite_export.export, linear, "never.tflite", batch_size=0))
    assert issubclass(NotDifferentiable, ValueError)
    assert not zoo.is_explained(error_of(np.zeros(3).reshape, 2))
    assert not zoo.is_explained(error_of(tinytl_keras.convert))


@pytest.mark.parametrize("name", SMALL)
def test_models_are_built_and_converted(name):
    entry = zoo_models.ZOO[name]
    model = entry.build(32)
    converted = tinytl_keras.convert(model, "bias", num_classes=entry.classes)
    losses = {entry.loss} if isinstance(entry.loss, str) else set(entry.loss.values())
    assert losses <= {"sparse_categorical_crossentropy", "mean_squared_error"}
    assert len(converted.inputs) == len(model.inputs)
    assert isinstance(entry.loss, str) or set(entry.loss) == set(converted.output_names)


def test_temporal_shift_moves_channels_between_frames():
    clip = np.arange(3 * 1 * 2 * 8, dtype="float32").reshape(3, 1, 2, 8)  # a frame each
    shifted = np.asarray(zoo_models.TemporalShift(3)(clip))
    np.testing.assert_array_equal(shifted[:2, ..., 0], clip[1:, ..., 0])
    np.testing.assert_array_equal(shifted[1:, ..., 1], clip[:2, ..., 1])
    assert not shifted[2, ..., 0].any() and not shifted[0, ..., 1].any()
    np.testing.assert_array_equal(shifted[..., 2:], clip[..., 2:])


def network():
    """A ReLU behind a normalization, behind a bias, and behind a sum in a model inside; statistics of a deeper one."""
    inner_input = x = keras.Input((8, 8, 6))
    y = layers.BatchNormalization(name="added")(layers.Conv2D(6, 3, padding="same", use_bias=False)(x))
    inner = keras.Model(inner_input, layers.ReLU(name="after_sum")(layers.Add()([x, y])))
    image = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="norm")(layers.Conv2D(6, 3, padding="same", use_bias=False)(image))
    x = inner(layers.ReLU(6.0)(x))
    x = layers.DepthwiseConv2D(3, activation="relu", name="depthwise")(x)
    x = layers.Conv2D(5, 1, activation="hard_swish", name="point")(x)
    return keras.Model(image, x)


@pytest.mark.parametrize("pixels", [False, True])
def test_calm_weights_keep_kinks_away(pixels):
    model = network()
    keras.utils.set_random_seed(0)
    calm(model, np.random.default_rng(0), pixels)
    x = random_inputs(model, np.random.default_rng(1), 32, pixels)[0]
    norm = keras.Model(model.input, model.get_layer("norm").output)
    values = np.asarray(norm(x, training=False))
    deviation, mean = values.std((0, 1, 2)), values.mean((0, 1, 2))
    distance = np.minimum(np.abs(mean), np.abs(mean - 6)) / deviation
    assert (deviation > 0.1).all() and (deviation < 0.8).all()
    assert (distance > 1.9).all(), distance
    layer = model.get_layer("depthwise")
    layer.activation = keras.activations.linear
    between = keras.Model(model.input, layer.output)
    values = np.asarray(between(x, training=False))
    assert (np.abs(values.mean((0, 1, 2))) > 1.5 * values.std((0, 1, 2))).all()
    assert layer.bias.numpy().std() > 0


def test_calm_weights_are_the_same_every_time():
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(3)
        model = network()
        calm(model, np.random.default_rng(3))
        weights.append(model.get_weights())
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_calm_weights_of_a_converted_network_leave_its_branches():
    """The statistics are those of the sum that the branch goes into, and its own normalizations keep their values."""
    keras.utils.set_random_seed(0)
    model = tinytl_keras.convert(residual_network(17), "lite_residual+bias")
    branches = [layer for layer in model.layers if isinstance(layer, tinytl_keras.layers.LiteResidual)]
    for branch in branches:
        branch.last_norm.gamma.assign(np.full(branch.last_norm.gamma.shape, 3.0))
    norms = [norm for branch in branches for norm in (branch.norm, branch.last_norm)]
    kept = [(variable, variable.numpy()) for norm in norms for variable in (norm.gamma, norm.beta)]
    calm(model, np.random.default_rng(0))
    assert kept
    for variable, before in kept:
        np.testing.assert_array_equal(variable, before)
    (x,) = random_inputs(model, np.random.default_rng(1), 64)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            variance = np.asarray(keras.Model(model.input, layer.input)(x, training=False)).var((0, 1, 2))
            np.testing.assert_allclose(layer.moving_variance, variance, rtol=0.5, atol=0.1 * variance.max())
