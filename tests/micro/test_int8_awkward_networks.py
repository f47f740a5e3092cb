"""int8 activations of networks and samples that are unlike a usual backbone and photographs.

`generate` holds every program against the same integers in numpy; here they are measured against Keras.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest

from tests.micro import networks, toolchain
from tflite_export import micro


@pytest.fixture(autouse=True)
def _compiler():
    toolchain.host_compiler()


def conv(x, filters, size=3, **options):
    return keras.layers.Conv2D(filters, size, **{"padding": "same", "activation": "relu", **options})(x)


def network(layers, shape=(10, 8, 3)) -> keras.Model:
    """`layers` of an input, a mean and a dense layer behind them; by method "bias"."""
    inputs = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling2D()(layers(inputs))
    return networks.prepared(keras.Model(inputs, keras.layers.Dense(4, name="head")(x), name="net"), "bias")


def two_layers(x):
    return conv(conv(x, 4), 5)


def difference(model, folder, calibration, x, **options):
    """||logits - Keras's|| / ||Keras's|| on x, and the report."""
    report = micro.generate(model, folder, name="net", activations="int8", calibration=calibration, **options)
    got = micro.HostProgram(folder, "net").infer(x)
    floats = x * np.float32(options.get("input_scale", 1)) + np.float32(options.get("input_offset", 0))
    expected = np.asarray(model(floats[None], training=False))[0]
    return np.linalg.norm(got - expected) / np.linalg.norm(expected), report


def test_a_channel_without_weights_keeps_its_bias(tmp_path):
    """It has no product whose step its bias could be counted in, least of all where pixels come in steps of 1."""
    model = network(two_layers)
    first, second = model.layers[1:3]
    kernel, bias = first.get_weights()[0] / 255, first.bias.numpy()
    kernel[..., 1], bias[1] = 0, 0.4
    first.kernel.assign(kernel)
    first.bias.assign(bias)
    kernel = second.kernel.numpy()
    kernel[:, :, [0, 2, 3]] *= 0.1
    second.kernel.assign(kernel)
    pixels = np.random.default_rng(0).integers(0, 256, (6, *model.input_shape[1:])).astype(np.uint8)
    found, _ = difference(model, tmp_path, pixels, pixels[0], input_dtype="uint8")
    assert found < 0.05


@pytest.mark.parametrize("size", [1e-6, 1e6])
def test_the_unit_of_the_input_does_not_matter(size, tmp_path):
    """A network of rectifiers is homogeneous: its integers are those of the input in any other unit."""
    found = []
    for unit in (1.0, size):
        model = network(lambda x: conv(two_layers(x), 6))
        for layer in model.layers:
            if getattr(layer, "bias", None) is not None:
                layer.bias.assign(layer.bias * unit)
        x = networks.pictures(model, 4) * np.float32(unit)
        folder = tmp_path / str(unit)
        folder.mkdir()
        found.append(difference(model, folder, x, x[0], verify=False)[0])
    assert found[0] < 0.02
    assert found[1] == pytest.approx(found[0], rel=0.2)


def next_to_nothing(x):
    """A layer, and a branch, of almost no weight."""
    x = conv(x, 4, activation="relu6", name="pruned")
    y = conv(x, 4, use_bias=False, activation=None, name="branch")
    return conv(keras.layers.Add()([conv(x, 4), y]), 4)


@pytest.mark.parametrize("weight", [1e-14, 1e-25])
def test_layers_of_next_to_no_weight(weight, tmp_path):
    model = network(next_to_nothing)
    for name in ("pruned", "branch"):
        layer = model.get_layer(name)
        layer.kernel.assign(layer.kernel * weight)
    model.get_layer("pruned").bias.assign(np.full(4, weight / 10, np.float32))
    x = networks.pictures(model, 4)
    with np.errstate(all="raise", under="ignore"):
        found, report = difference(model, tmp_path, x, x[0])
    assert found < 0.1
    assert report.int8_operators > 3


class Position(keras.layers.Layer):
    """Adds a map that is the same for every picture."""

    def call(self, x):
        values = np.linspace(-1, 1, int(np.prod(x.shape[1:]))).reshape(1, *x.shape[1:])
        return x + keras.ops.convert_to_tensor(values.astype(np.float32))


def test_a_constant_map_is_added_in_float(tmp_path):
    model = network(lambda x: two_layers(Position()(conv(conv(x, 4), 4, activation=None))))
    x = networks.pictures(model, 4)
    found, report = difference(model, tmp_path, x, x[0])
    assert found < 0.05
    assert report.int8_operators == 4


def test_sums_past_int32_stay_float(tmp_path):
    """33,000 products are what the kernels' sums hold (tinytl/quantized.h)."""
    model = network(lambda x: two_layers(conv(x, 2, 1)), shape=(2, 2, 33_001))
    x = networks.pictures(model, 2)
    _, report = difference(model, tmp_path, x, x[0], verify=False)
    assert report.int8_operators == 2
