"""Keras's side of the parity table, against model.fit."""

import keras
import networks
import numpy as np
import pytest
from keras_training import KerasTraining, Reference
from parity_cases import OPTIMIZERS

STEPS = 3


@pytest.fixture(scope="module")
def model():
    return networks.build(networks.PLAIN, "bias")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_steps_are_those_of_fit(model, optimizer):
    rng = np.random.default_rng(0)
    batches = [(networks.images(rng, 3, model.input_shape[1:]), networks.labels(rng, 3)) for _ in range(STEPS)]
    losses, states = KerasTraining(model, 3).run(optimizer, 0.01, batches)
    after = states[-1]

    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    rule = OPTIMIZERS[optimizer](0.01)
    other.compile(rule, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    expected = [other.train_on_batch(x, y) for x, y in batches]
    np.testing.assert_allclose(losses[0], expected[0], rtol=1e-5)
    for variable in other.trainable_variables:
        np.testing.assert_allclose(after[variable.path], variable, rtol=1e-4, atol=1e-6)
    assert len(states) == STEPS + 1
    kept = {"SGD": 0, "momentum": 1, "Adam": 2}[optimizer]
    count = len(model.trainable_variables)
    assert len(after) == count * (1 + kept) + (optimizer == "Adam")
    if optimizer == "Adam":
        assert after["step"] == STEPS
        for path, moment in zip([v.path for v in other.trainable_variables], rule._velocities, strict=True):
            np.testing.assert_allclose(after[f"{path}/v"], moment, rtol=1e-3, atol=1e-9)


def test_the_model_gets_its_weights_back(model):
    weights = model.get_weights()
    reference = KerasTraining(model, 1).reference("momentum", 0.05, steps=STEPS, seed=0, tolerance=1e-3)
    for before, now in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)
    assert len(reference.batches) == len(reference.losses) == STEPS
    assert 0 <= reference.sensitivity <= 1e-3
    assert reference.before.keys() == reference.after.keys()
    for name, value in reference.before.items():
        assert not np.array_equal(value, reference.after[name]), name


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_single_steps_start_where_the_run_has_come_to(model, optimizer):
    """At the run's own rate they are the run's but for rounding; at a larger one weights go further the same way."""
    training = KerasTraining(model, 1)
    rng = np.random.default_rng(1)
    batches = [(networks.images(rng, 1, model.input_shape[1:]), networks.labels(rng, 1)) for _ in range(2)]
    losses, states = training.run(optimizer, 0.01, batches)
    reference = Reference(batches, losses, states, 0.0)
    for found, expected in zip(training.single_steps(optimizer, 0.01, reference.starts), states[1:], strict=True):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-7, err_msg=name)
    first, _ = training.single_steps(optimizer, 0.02, reference.starts)
    for path in training.before:
        update = states[1][path] - states[0][path]
        np.testing.assert_allclose(first[path] - states[0][path], 2 * update, rtol=1e-2, atol=1e-6)
    batch, after = training.another_step(optimizer, 0.01, seed=3)(states[1])
    assert not np.array_equal(batch[0], batches[1][0])
    assert any(not np.array_equal(after[path], states[1][path]) for path in training.before)
