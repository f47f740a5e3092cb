"""The benchmarks' networks: names, and weights that no layer ignores."""

import keras
import networks
import numpy as np
import pytest


@pytest.mark.parametrize(
    ("name", "alpha_or_norm", "size"),
    [
        ("MobileNetV2-0.35@96", 0.35, (96, 96)),
        ("MobileNetV2-1.0@128", 1.0, (128, 128)),
        ("MobileNetV2-0.5@75x91", 0.5, (75, 91)),
        ("ProxylessNAS-Mobile@96 batch", "batch", (96, 96)),
        ("ProxylessNAS-Mobile@64x96 group", "group", (64, 96)),
    ],
)
def test_names(name, alpha_or_norm, size):
    assert networks.parse(name) == (alpha_or_norm, size)


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


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_nothing_of_proxyless_nas_keeps_its_first_constants(norm):
    model = networks.build(f"ProxylessNAS-Mobile@32 {norm}", "lite_residual+bias")
    kinds = set()
    for variable in model.variables:
        if variable.path.endswith(("/gamma", "/beta", "/moving_mean", "/moving_variance")):
            kinds.add(variable.path.rpartition("/")[2])
            assert np.std(variable) > 0, variable.path
    assert kinds == {"gamma", "beta"} | ({"moving_mean", "moving_variance"} if norm == "batch" else set())
    last = [v for v in model.trainable_variables if v.path.endswith("lite_residual/last_norm/gamma")]
    assert len(last) == 19
    assert np.mean([np.std(v) for v in last]) == pytest.approx(0.1, rel=0.2)


def test_networks_are_the_same_every_time():
    first, second = (networks.build("MobileNetV2-0.35@32", "lite_residual", seed=3) for _ in range(2))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
