"""fit(restore_best=True), on a numpy stand-in for the interpreter."""

import numpy as np
import pytest

from tflite_export.runtime import Evaluation, OnDeviceModel

LOSSES = [0.9, 0.4, 0.6, float("nan"), 0.4, 0.5]  # best: the second of six epochs
STEPS = 3  # per epoch


def bias(model):
    return model._signatures.save()["head/bias"]


@pytest.fixture
def arguments(samples):
    return {"x": samples[0], "y": samples[1], "epochs": 6, "learning_rate": 0.3, "verbose": False}


def with_losses(model, losses):
    """Makes `evaluate` give `losses`, by the epoch that `fit` is in; one that is None interrupts."""

    def evaluate(x, y):
        loss = losses[model.fit_progress.epoch]
        if loss is None:
            raise KeyboardInterrupt
        return Evaluation(loss, 0.0, len(x))

    model.evaluate = evaluate
    return model


@pytest.fixture
def biases(make_model, arguments):
    """After each epoch of a fit that restores nothing."""
    model, seen = make_model(), []
    note = lambda result: seen.append(bias(model)) if model.fit_progress.position == STEPS else None  # noqa: E731
    model.fit(**arguments, after_step=note)
    return seen


def test_the_variables_and_the_step_count_of_the_best_epoch_come_back(make_model, arguments, samples, biases):
    model = with_losses(make_model(), LOSSES)
    history = model.fit(**arguments, validation=samples, restore_best=True)
    assert history["validation_loss"] == pytest.approx(LOSSES, nan_ok=True)
    np.testing.assert_array_equal(bias(model), biases[1])
    assert (model.steps, model.fit_progress, model._best) == (2 * STEPS, None, None)


def test_without_a_finite_loss_the_last_epoch_stays(make_model, arguments, samples, biases):
    model = with_losses(make_model(), [float("nan")] * 6)
    model.fit(**arguments, validation=samples, restore_best=True)
    np.testing.assert_array_equal(bias(model), biases[-1])


@pytest.mark.parametrize("stop", [1, 2, 4, 5])
def test_the_best_epoch_survives_an_interruption(make_model, arguments, samples, biases, tmp_path, stop):
    model = with_losses(make_model(), [*LOSSES[:stop], None, *LOSSES[stop + 1 :]])
    with pytest.raises(KeyboardInterrupt):
        model.fit(**arguments, validation=samples, restore_best=True)
    assert model.fit_progress.best.epoch == min(stop - 1, 1)
    model.save(tmp_path / "state")
    again = with_losses(OnDeviceModel(tmp_path / "model.tflite", state=tmp_path / "state"), LOSSES)
    np.testing.assert_array_equal(bias(again), biases[stop])  # not yet the best one
    again.fit(**arguments, validation=samples, restore_best=True, resume=True)
    np.testing.assert_array_equal(bias(again), biases[1])


def test_a_fit_that_does_not_ask_for_it_forgets_the_best_epoch(make_model, arguments, samples, biases):
    model = with_losses(make_model(), [*LOSSES[:3], None, *LOSSES[4:]])
    with pytest.raises(KeyboardInterrupt):
        model.fit(**arguments, validation=samples, restore_best=True)
    model.fit(**arguments, resume=True)
    np.testing.assert_array_equal(bias(model), biases[-1])
    assert model._best is None


def test_it_needs_validation(make_model, calls, arguments):
    with pytest.raises(ValueError, match="restore_best needs validation"):
        make_model().fit(**arguments, restore_best=True)
    assert calls == []
