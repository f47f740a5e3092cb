"""Gradients in float64, by a twin of the model."""

import keras
import networks
import numpy as np
from keras_gradients import exact_gradients_of, gradients_of


def squares(y, predicted):
    return keras.ops.mean(keras.losses.mean_squared_error(y, predicted))


def test_they_are_float32_s_but_for_rounding_and_follow_the_weights():
    model = networks.build(networks.PLAIN, "lite_residual+bias")
    rng = np.random.default_rng(0)
    x, y = networks.images(rng, 2, model.input_shape[1:]), rng.normal(size=(2, 10)).astype(np.float32)
    gradients, exact_gradients = gradients_of(model, squares), exact_gradients_of(model, squares)
    for _ in range(2):
        loss, found = exact_gradients(x, y)
        expected_loss, expected = gradients(x, y)
        np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
        for variable, gradient, wanted in zip(model.trainable_variables, found, expected, strict=True):
            assert gradient.dtype == "float64"
            assert np.linalg.norm(gradient - np.float64(wanted)) <= 1e-4 * np.linalg.norm(wanted), variable.path
        for variable in model.variables:
            variable.assign(1.1 * variable)


def test_a_sum_that_float32_rounds_to_a_kink_is_seen_beside_it():
    """1 + 2**-30 - 1 is 0 in float32, where ReLU has no gradient."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, "relu", use_bias=False, name="dense")(inputs))
    model.layers[-1].kernel.assign([[1], [2**-30], [-1]])
    x, y = np.ones((1, 3), np.float32), np.zeros((1, 1), np.float32)
    _, (exact,) = exact_gradients_of(model, squares)(x, y)
    np.testing.assert_allclose(exact, np.full((3, 1), 2 * 2.0**-30))
    _, (rounded,) = gradients_of(model, squares)(x, y)
    np.testing.assert_array_equal(rounded, np.zeros((3, 1)))
