"""k-means against the exact optimum by dynamic programming; what cluster_frozen changes and what it leaves."""

import importlib.util
import itertools

import keras
import numpy as np
import pytest
from keras import layers

import tinytl_keras
from tinytl_keras.layers import WeightStandardizedConv2D
from tinytl_keras.quantize import cluster_frozen
from tinytl_keras.quantize.k_means import k_means, nearest


def exact_error(values, clusters):
    """The least sum of squares of any division into intervals, by dynamic programming over all of them."""
    values = np.sort(values)
    sums, squares = (np.concatenate([[0.0], np.cumsum(values**power)]) for power in (1, 2))
    best = np.concatenate([[0.0], np.full(len(values), np.inf)])
    for _ in range(clusters):
        new = best.copy()
        for j in range(1, len(best)):
            i = np.arange(j)
            new[j] = np.min(best[i] + squares[j] - squares[i] - (sums[j] - sums[i]) ** 2 / (j - i))
        best = new
    return best[-1]


@pytest.mark.parametrize(("seed", "clusters"), [*itertools.product(range(3), (2, 4, 16))])
def test_k_means_is_near_the_exact_optimum(seed, clusters):
    values = np.random.default_rng(seed).normal(size=500)
    error = ((nearest(values, k_means(values, clusters)) - values) ** 2).sum()
    best = exact_error(values, clusters)
    assert best - 1e-9 <= error <= 1.1 * best


def test_k_means_is_better_than_steps_of_equal_size():
    values = np.random.default_rng(0).normal(size=20000)
    error = np.linalg.norm(nearest(values, k_means(values, 256)) - values)
    step = np.abs(values).max() / 127
    assert error < 0.75 * np.linalg.norm(np.rint(values / step) * step - values)


def test_few_values_stay():
    values = np.random.default_rng(0).choice([-2.0, 0.5, 3.0], size=(4, 5)).astype(np.float32)
    np.testing.assert_array_equal(nearest(values, k_means(values, 4)), values)


def network():
    x = inputs = keras.Input((12, 12, 3))
    x = WeightStandardizedConv2D(8, 3, use_bias=False, frozen=["kernel"], name="standardized")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(6, 3, name="separable")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, name="head")(x))


def test_only_frozen_kernels_change():
    model = tinytl_keras.convert(network(), "bias", num_classes=4)
    before = {weight.path: weight.numpy().copy() for weight in model.weights}
    found = {kernel.path: kernel for kernel in cluster_frozen(model, bits=3)}
    assert {path.split("/")[0] for path in found} == {"standardized", "depthwise", "separable"}
    assert len(found) == 4
    for weight in model.weights:
        now = weight.numpy()
        if weight.path not in found:
            np.testing.assert_array_equal(now, before[weight.path])
            continue
        kernel = found[weight.path]
        assert len(np.unique(now)) <= 8
        np.testing.assert_array_equal(np.unique(now), kernel.centroids)
        old = before[weight.path]
        distances = np.abs(old.reshape(-1, 1) - kernel.centroids)
        np.testing.assert_allclose(np.abs(now - old).reshape(-1), distances.min(axis=1), atol=1e-6)
        assert kernel.error == pytest.approx(np.linalg.norm(now - old) / np.linalg.norm(old), rel=1e-5)


def test_more_bits_are_nearer():
    errors = []
    for bits in (2, 4, 8):
        keras.utils.set_random_seed(0)
        model = tinytl_keras.convert(network(), "bias", num_classes=4)
        errors.append(max(kernel.error for kernel in cluster_frozen(model, bits)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_refusals():
    model = network()
    with pytest.raises(TypeError, match="keras.Model. Received: str"):
        cluster_frozen("model")
    for bits in (0, 17, True, 2.5):
        with pytest.raises(ValueError, match="from 1 to 16"):
            cluster_frozen(model, bits)
    with pytest.raises(ValueError, match="one of lloyd, tfmot"):
        cluster_frozen(model, algorithm="random")
    trainable = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"No kernel .* is frozen. Convert it first"):
        cluster_frozen(trainable)


def test_tfmot_or_what_to_install():
    model = tinytl_keras.convert(network(), "bias", num_classes=4)
    if importlib.util.find_spec("tensorflow_model_optimization") is None:
        with pytest.raises(ImportError, match="quantize"):
            cluster_frozen(model, algorithm="tfmot")
        return
    kernels = cluster_frozen(model, bits=3, algorithm="tfmot")
    assert all(len(kernel.centroids) <= 8 for kernel in kernels)
