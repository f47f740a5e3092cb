"""Parity with numpy: three small vectors that need no file. Gradients are central differences in float64."""

import keras
import numpy as np
import pytest

from tests.tinytl_keras.test_parity import assert_relative, outputs_and_gradients
from tinytl_keras import layers


def convolve(x, kernel, strides, padding, groups):
    batch, height, width, _ = x.shape
    size, _, per_group, filters = kernel.shape
    x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    rows, columns = ((n + 2 * padding - size) // strides + 1 for n in (height, width))
    y = np.zeros((batch, rows, columns, filters))
    for out in range(filters):
        first = out // (filters // groups) * per_group
        for i in range(rows):
            for j in range(columns):
                window = x[
                    :, i * strides : i * strides + size, j * strides : j * strides + size, first : first + per_group
                ]
                y[:, i, j, out] = (window * kernel[..., out]).sum((1, 2, 3))
    return y


def standardized(kernel):
    columns = [kernel[..., out] for out in range(kernel.shape[-1])]
    return np.stack([(w - w.mean()) / (w.std(ddof=1) + 1e-5) for w in columns], -1)


def normalized(x, gamma, beta, per_group):
    y = np.empty_like(x)
    for n in range(len(x)):
        for first in range(0, x.shape[-1], per_group):
            group = x[n, ..., first : first + per_group]
            y[n, ..., first : first + per_group] = (group - group.mean()) / np.sqrt(group.var() + 1e-3)
    return y * gamma + beta


def resized(x, rows, columns):
    """Half-pixel bilinear, edges repeated."""

    def weights(new, old):
        matrix = np.zeros((new, old))
        for i in range(new):
            place = np.clip((i + 0.5) * old / new - 0.5, 0, old - 1)
            low = int(place)
            matrix[i, low] += 1 - (place - low)
            matrix[i, min(low + 1, old - 1)] += place - low
        return matrix

    return np.einsum("ih,jw,nhwc->nijc", weights(rows, x.shape[1]), weights(columns, x.shape[2]), x)


def standardized_grouped_convolution():
    layer = layers.WeightStandardizedConv2D(4, 3, strides=2, groups=2, use_bias=False, name="conv")
    inputs = keras.Input((5, 6, 4), name="x")
    model = keras.Model(inputs, layer(keras.layers.ZeroPadding2D(1)(inputs)))
    return model, lambda x, w: convolve(x, standardized(w["conv/kernel"]), 2, 1, 2)


def strided_branch():
    """7x5 -> pooled 3x2 -> 2x1 -> resized to 4x3; 4 -> 8 -> 6 channels."""
    inputs, main = keras.Input((7, 5, 4), name="x"), keras.Input((4, 3, 6), name="main")
    model = keras.Model([inputs, main], layers.LiteResidual(kernel_size=3, name="lite")(inputs, main))

    def reference(x, w, main):
        pooled = x[:, :6, :4].reshape(len(x), 3, 2, 2, 2, 4).mean((2, 4))
        y = convolve(pooled, w["lite/group_conv/kernel"], 2, 1, 2)
        y = np.maximum(normalized(y, w["lite/norm/gamma"], w["lite/norm/beta"], 8), 0)
        y = normalized(y @ w["lite/point_conv/kernel"][0, 0], w["lite/last_norm/gamma"], w["lite/last_norm/beta"], 6)
        return main + resized(y, 4, 3)

    return model, reference


def global_branch():
    """The whole 3x2 map's mean; 12 -> 16 -> 12 channels; standardized kernels, one group a sample and norm."""
    inputs, main = keras.Input((3, 2, 12), name="x"), keras.Input((3, 2, 12), name="main")
    layer = layers.LiteResidual(pool=None, weight_standardization=True, name="lite")
    model = keras.Model([inputs, main], layer(inputs, main))

    def reference(x, w, main):
        y = convolve(x.mean((1, 2), keepdims=True), standardized(w["lite/group_conv/kernel"]), 1, 0, 2)
        y = np.maximum(normalized(y, w["lite/norm/gamma"], w["lite/norm/beta"], 8), 0)
        y = y @ standardized(w["lite/point_conv/kernel"])[0, 0]
        return main + normalized(y, w["lite/last_norm/gamma"], w["lite/last_norm/beta"], 6)

    return model, reference


def differences(function, values, cotangent, step=1e-6):
    """The gradient of sum(function() · cotangent) with respect to an array that the function reads."""
    gradient = np.empty_like(values)
    for index in np.ndindex(values.shape):
        kept = values[index]
        values[index] = kept + step
        above = (function() * cotangent).sum()
        values[index] = kept - step
        gradient[index] = (above - (function() * cotangent).sum()) / (2 * step)
        values[index] = kept
    return gradient


@pytest.mark.parametrize("build", [standardized_grouped_convolution, strided_branch, global_branch])
def test_own_vector(build):
    generator = np.random.default_rng(3)
    model, reference = build()
    inputs = {tensor.name: generator.normal(size=(2, *tensor.shape[1:])) for tensor in model.inputs}
    weights = {variable.path: generator.normal(1, 0.5, variable.shape) for variable in model.trainable_variables}
    for variable in model.trainable_variables:
        variable.assign(weights[variable.path])

    def expected():
        x, *main = inputs.values()
        return reference(x, weights, *main)

    cotangent = generator.normal(size=expected().shape)
    singles = {name: values.astype("float32") for name, values in inputs.items()}
    outputs, of_inputs, of_weights = outputs_and_gradients(model, singles, cotangent.astype("float32"))
    assert_relative(outputs, expected(), 1e-5, "outputs")
    for name, values in inputs.items():
        assert_relative(of_inputs[name], differences(expected, values, cotangent), 1e-4, name)
    for path, values in weights.items():
        assert_relative(of_weights[path], differences(expected, values, cotangent), 1e-4, path)
