"""OnDeviceModel.fit, on a numpy stand-in for the interpreter."""

import numpy as np
import pytest

from tflite_export.runtime import OnDeviceModel, cosine
from tflite_export.runtime.batches import epoch_order


def bias(model):
    return model._signatures.save()["head/bias"]


def trained_labels(calls):
    return [inputs["y"].tolist() for name, inputs in calls if name == "train"]


def test_fit_is_the_steps_one_would_take_by_hand(make_model, samples):
    x, y = samples
    model, by_hand = make_model(), make_model()
    history = model.fit(x, y, epochs=2, learning_rate=lambda step: 0.1 / (1 + step), seed=5, verbose=False)

    losses, correct, step = [], [], 0
    for epoch in range(2):
        order = epoch_order(10, True, 5, epoch)
        results = []
        for start in (0, 4, 8):
            rows = order[start : start + 4]
            results.append(by_hand.train_step(x[rows], y[rows], 0.1 / (1 + step)))
            step += 1
        losses.append(sum(r.loss * r.count for r in results) / 10)
        correct.append(sum(r.correct for r in results) / 10)
    np.testing.assert_array_equal(bias(model), bias(by_hand))
    assert history["loss"] == pytest.approx(losses)
    assert history["accuracy"] == pytest.approx(correct)
    assert history["learning_rate"] == pytest.approx([0.1 / 3, 0.1 / 6])
    assert history["skipped_steps"] == [0, 0]


def test_cosine_without_steps_falls_over_all_steps_of_the_fit_also_when_resumed(make_model, samples):
    given, filled_in, resumed = make_model(), make_model(), make_model()
    history = given.fit(*samples, 2, learning_rate=cosine(0.5, 6), verbose=False)
    assert filled_in.fit(*samples, 2, learning_rate=cosine(0.5), verbose=False) == history
    np.testing.assert_array_equal(bias(filled_in), bias(given))

    def interrupt(batch):
        if resumed.steps == 4:
            raise KeyboardInterrupt
        return batch

    with pytest.raises(KeyboardInterrupt):
        resumed.fit(*samples, 2, learning_rate=cosine(0.5), augment=interrupt, verbose=False)
    resumed.fit(*samples, 2, learning_rate=cosine(0.5), verbose=False, resume=True)
    np.testing.assert_array_equal(bias(resumed), bias(given))


def test_without_shuffle_and_in_smaller_batches(make_model, calls, samples):
    make_model().fit(samples[0][:5], [0, 1, 2, 1, 0], 1, batch_size=2, shuffle=False, verbose=False)
    assert trained_labels(calls) == [[0, 1, -1, -1], [2, 1, -1, -1], [0, -1, -1, -1]]


def test_it_learns_and_reports_validation(make_model, samples):
    history = make_model().fit(*samples, 30, learning_rate=0.5, validation=samples, verbose=False)
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    assert len(history["validation_accuracy"]) == 30


def test_augment_sees_raw_rows_and_cannot_spoil_the_samples(make_model, calls):
    x = np.arange(24, dtype=np.uint8).reshape(6, 4)

    def augment(batch):
        assert batch.dtype == np.uint8
        batch[:] = 2
        return batch

    make_model().fit(x, np.zeros(6, int), 1, augment=augment, verbose=False)
    assert (calls[0][1]["x"] == 0).all()  # 2 * input_scale + input_offset
    np.testing.assert_array_equal(x, np.arange(24).reshape(6, 4))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda batch: batch[:, :3], r"augment must keep the shape \[4, 4\]. It returned: \[4, 3\]"),
        (lambda batch: batch * np.nan, "augment returned cannot be used: x holds NaN or infinity"),
        (lambda batch: batch > 0, "augment returned cannot be used: .*dtype bool"),
    ],
)
def test_an_augment_that_goes_wrong_is_refused_by_step_and_can_be_resumed(make_model, samples, spoil, message):
    model, other = make_model(), make_model()
    count = 0

    def augment(batch):
        nonlocal count
        count += 1
        return spoil(batch) if count == 5 else batch

    where = r"before step 4 \(epoch 2, batch 2 of 3\); the 4 steps before it stand.*"
    with pytest.raises(ValueError, match=where + message):
        model.fit(*samples, 2, augment=augment, verbose=False)
    assert model.steps == 4
    model.fit(*samples, 2, augment=augment, verbose=False, resume=True)
    other.fit(*samples, 2, verbose=False)
    np.testing.assert_array_equal(bias(model), bias(other))


def test_a_schedule_that_goes_wrong_is_refused_by_step(make_model, samples):
    model = make_model()
    with pytest.raises(ValueError, match="before step 2 .*learning rate must be"):
        model.fit(*samples, 1, learning_rate=lambda step: 0.1 if step < 2 else 1e39, verbose=False)
    assert model.steps == 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1. Received: epochs=0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer. Received: epochs=1.5"),
        ({"batch_size": 2.5}, TypeError, "batch_size must be an integer. Received: batch_size=2.5"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer. Received: batch_size=True"),
        ({"batch_size": 5}, ValueError, "batches of 1 to 4 rows. Received: batch_size=5"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"learning_rate": cosine(0.1, warmup=3)}, ValueError, "warmup < steps. Received: warmup=3, steps=3"),
        ({"augment": 3}, TypeError, "augment must be a function"),
        ({"validation": np.zeros((2, 4))}, TypeError, r"validation must be a pair \(x, y\). Received: ndarray"),
        ({"validation": (np.zeros((2, 4)),)}, TypeError, "validation must be a pair"),
        ({"validation": (np.zeros((2, 4)), [0, 3])}, ValueError, "Received: 3 at index 1"),
        ({"x": np.zeros((0, 4)), "y": np.zeros(0, int)}, ValueError, "at least one sample"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_runs(make_model, calls, samples, changes, error, message):
    model = make_model()
    with pytest.raises(error, match=message):
        model.fit(**{"x": samples[0], "y": samples[1], "epochs": 1, **changes})
    assert calls == [] and model.fit_progress is None


def test_the_progress_bar_can_be_switched_off(make_model, samples, capsys):
    make_model().fit(*samples, 1, verbose=False)
    assert capsys.readouterr().err == ""
    make_model().fit(*samples, 1)
    shown = capsys.readouterr().err
    assert "epoch 1/1" in shown and "3/3" in shown and "loss=" in shown and "accuracy=" in shown


@pytest.mark.parametrize("stop_after", [1, 3, 4])  # within the first epoch, at its end, within the second
def test_an_interrupted_fit_goes_on_where_it_stopped(make_model, samples, tmp_path, stop_after):
    whole, model = make_model(), make_model()
    arguments = {"epochs": 3, "learning_rate": lambda step: 0.1 + step / 50, "seed": 2, "verbose": False}
    whole.fit(*samples, **arguments)
    batches = 0

    def interrupt(batch):
        nonlocal batches
        batches += 1
        if batches > stop_after:
            raise KeyboardInterrupt
        return batch

    with pytest.raises(KeyboardInterrupt):
        model.fit(*samples, augment=interrupt, **arguments)
    model.save(tmp_path / "state")
    again = OnDeviceModel(tmp_path / "model.tflite", state=tmp_path / "state")
    with pytest.raises(ValueError, match="seed was 2 and is 3"):
        again.fit(*samples, **{**arguments, "seed": 3}, resume=True)
    again.fit(*samples, **arguments, resume=True)
    np.testing.assert_array_equal(bias(again), bias(whole))
    assert again.steps == whole.steps == 9
    with pytest.raises(ValueError, match="no interrupted fit"):
        again.fit(*samples, **arguments, resume=True)


@pytest.mark.parametrize("stop_after", [2, 3, 5, 9])  # within an epoch, at its end, and when all steps are done
def test_a_resumed_fit_reports_the_interrupted_epoch_as_a_whole(make_model, samples, tmp_path, stop_after):
    arguments = {"epochs": 3, "learning_rate": lambda step: 0.1 + step / 50, "validation": samples, "verbose": False}
    whole = make_model().fit(*samples, **arguments)
    model = make_model()

    def stop_when_due(*_):
        if model.steps == stop_after:
            raise KeyboardInterrupt

    original = model.evaluate
    model.evaluate = lambda x, y: stop_when_due() or original(x, y)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*samples, augment=lambda batch: stop_when_due() or batch, **arguments)
    model.save(tmp_path / "state")
    again = OnDeviceModel(tmp_path / "model.tflite", state=tmp_path / "state")
    with pytest.raises(ValueError, match="seed was 0 and is 3"):
        again.fit(*samples, **arguments, seed=3, resume=True)
    history = again.fit(*samples, **arguments, resume=True)
    epoch = (stop_after - 1) // 3
    assert history == {name: pytest.approx(values[epoch:]) for name, values in whole.items()}
    assert again.fit_progress is None


def test_a_fit_cannot_be_resumed_for_fewer_epochs_than_it_has_run(make_model, samples):
    model = make_model()
    with pytest.raises(ValueError, match="before step 4"):
        model.fit(*samples, 3, learning_rate=lambda step: 0.1 if step < 4 else -1, verbose=False)
    with pytest.raises(ValueError, match="in epoch 2 already. Received: epochs=1"):
        model.fit(*samples, 1, resume=True, verbose=False)
