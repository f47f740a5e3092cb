"""The benchmarks' networks: names, and weights that no layer ignores."""

import keras
import networks
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "alpha", "size"),
    [
        ("MobileNetV2-0.35@96", 0.35, (96, 96)),
        ("MobileNetV2-1.0@128", 1.0, (128, 128)),
        ("MobileNetV2-0.5@75x91", 0.5, (75, 91)),
    ],
)
def test_names(name, alpha, size):
    assert networks.parse(name) == (alpha, size)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=r"MobileNetV2-<alpha>@<size>.*got 'ResNet@96'"):
        networks.parse("ResNet@96")


def test_statistics_fit_the_images_and_channels_are_of_all_three_kinds():
    image = keras.Input((16, 12, 3))
    x = keras.layers.Conv2D(64, 3, use_bias=False)(image)
    normalized = keras.layers.BatchNormalization(name="expand_BN")(x)
    model = keras.Model(image, [normalized, keras.layers.ReLU(6.0)(normalized)])
    rng = np.random.default_rng(0)
    networks.randomise(model, rng)
    layer = model.get_layer("expand_BN")
    values, outputs = (np.asarray(y) for y in model(networks.images(rng, 32, (16, 12, 3)), training=False))
    np.testing.assert_allclose(values.mean((0, 1, 2)), layer.beta, atol=0.05)
    np.testing.assert_allclose(values.std((0, 1, 2)), layer.gamma, rtol=0.15)
    passing = ((outputs > 0) & (outputs < 6)).mean((0, 1, 2))
    mean = outputs.mean((0, 1, 2))
    assert (passing > 0.9).sum() > 32
    assert ((passing < 0.1) & (mean < 1)).any()
    assert ((passing < 0.1) & (mean > 5)).any()
    assert ((passing > 0) & (passing < 1)).mean() > 0.9
    assert layer.momentum == 0.99
