"""The Keras layers against the official modules, and against vectors of our own that always run.

Outputs to 1e-5 and gradients to 1e-4 of the largest value.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import parity_cases

pytestmark = pytest.mark.skipif(
    not parity_cases.DIRECTORY.is_dir(), reason=f"the official vectors are not here: {parity_cases.DIRECTORY}"
)


def assert_relative(got, expected, tolerance, what=""):
    assert got.shape == expected.shape, what
    difference = np.abs(np.asarray(got) - expected).max() / np.abs(expected).max()
    assert difference <= tolerance, f"{what}: {difference:.2e} of the largest value, above {tolerance}"


def outputs_and_gradients(model, inputs, cotangent):
    """The model's outputs, and the gradients of sum(outputs · cotangent) by input name and by variable path."""

    @tf.function(autograph=False)
    def step(inputs, cotangent):
        with tf.GradientTape() as tape:
            tape.watch(list(inputs.values()))
            several = [inputs[tensor.name] for tensor in model.inputs]
            outputs = model(several if len(several) > 1 else several[0])
        variables = [variable.value for variable in model.trainable_variables]
        return outputs, *tape.gradient(outputs, [inputs, variables], cotangent)

    outputs, of_inputs, of_weights = step({name: tf.constant(x) for name, x in inputs.items()}, tf.constant(cotangent))
    by_path = {variable.path: g for variable, g in zip(model.trainable_variables, of_weights, strict=True)}
    return outputs, of_inputs, by_path


@pytest.mark.parametrize("name", parity_cases.names())
def test_official_module(name):
    case = parity_cases.load(name)
    outputs, of_inputs, of_weights = outputs_and_gradients(case.model, case.inputs, case.cotangent)
    assert_relative(outputs, case.outputs, 1e-5, "outputs")
    for key, expected in case.input_gradients.items():
        assert_relative(of_inputs[key], expected, 1e-4, key)
    assert set(of_weights) == set(case.gradients)
    for path, expected in case.gradients.items():
        assert_relative(of_weights[path], expected, 1e-4, path)


def test_official_bilinear_matrices():
    """What the branch resizes with, one unit map after the other."""
    for (height, width), size, matrix in parity_cases.resize_cases():
        units = np.eye(height * width, dtype="float32").reshape(-1, height, width, 1)
        resized = keras.ops.image.resize(units, size, "bilinear", data_format="channels_last")
        np.testing.assert_allclose(np.reshape(resized, matrix.shape), matrix, atol=1e-6)


def test_official_loss_and_its_gradient():
    data = parity_cases.losses()
    targets = np.eye(data["logits"].shape[1], dtype="float32")[data["labels"]]
    for smoothing in (0.0, 0.1, 0.7):
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        logits = tf.constant(data["logits"], "float32")
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(targets, logits)
        assert_relative(np.asarray(value), data[f"loss_ls{smoothing}"], 1e-5)
        assert_relative(tape.gradient(value, logits), data[f"glogits_ls{smoothing}"], 1e-4)


def test_official_learning_rates():
    """Cosine per step, no warm-up: 50 epochs of 10 steps from 1."""
    expected = parity_cases.losses()["lr_cosine_init1_50ep_nb10"]
    schedule = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=len(expected))
    got = [float(schedule(step)) for step in range(len(expected))]
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_every_official_file_is_used():
    used = {*parity_cases.names(), "bilinear_matrices", "loss_lr"}
    assert used == {path.stem for path in parity_cases.DIRECTORY.glob("*.npz")}
