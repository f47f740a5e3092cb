"""Ctrl-C during a step: Python raises KeyboardInterrupt as soon as native code returns."""

import os
import signal
import threading

import numpy as np
import pytest

from tests.tflite_export.runtime import stand_in
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.interruption import uninterrupted


def bias(model):
    return model._signatures.save()["head/bias"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_step_that_is_interrupted_is_counted_and_not_taken_twice(make_model, samples, tmp_path, monkeypatch, number):
    arguments = {"epochs": 2, "learning_rate": 0.3, "verbose": False}
    whole, model = make_model(), make_model()
    whole.fit(*samples, **arguments)
    previous = signal.signal(number, signal.default_int_handler)
    original, count = stand_in.Interpreter.train, 0

    def train(self, **inputs):
        nonlocal count
        result, count = original(self, **inputs), count + 1
        if count == 2:
            os.kill(os.getpid(), number)  # the handler would run before this function returns
        return result

    monkeypatch.setattr(stand_in.Interpreter, "train", train)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(*samples, **arguments)
    finally:
        signal.signal(number, previous)
    assert (count, model.steps, model.fit_progress.position) == (2, 2, 2)
    model.save(tmp_path / "state")
    again = OnDeviceModel(tmp_path / "model.tflite", state=tmp_path / "state")
    again.fit(*samples, **arguments, resume=True)
    np.testing.assert_array_equal(bias(again), bias(whole))
    assert again.steps == whole.steps


def test_handlers_are_put_back_and_nested_blocks_deliver_at_the_end_of_the_outer():
    before = signal.getsignal(signal.SIGINT)
    seen = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        with uninterrupted():
            os.kill(os.getpid(), signal.SIGINT)
        seen.append("after the inner block")
    assert seen == ["after the inner block"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_in_the_block_is_not_hidden_by_the_handlers():
    with pytest.raises(ZeroDivisionError), uninterrupted():
        1 / 0  # noqa: B018


def test_another_thread_has_no_signals_to_keep_back():
    errors = []

    def work():
        try:
            with uninterrupted():
                pass
        except ValueError as error:  # signal.signal outside the main thread
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == []


def test_after_step_sees_progress_and_variables_of_the_same_step(make_model, samples):
    model, seen = make_model(), []
    model.fit(*samples, 2, verbose=False, after_step=lambda result: seen.append(
        (result.count, model.steps, model.fit_progress.epoch, model.fit_progress.position)
    ))  # fmt: skip
    assert seen == [(4, 1, 0, 1), (4, 2, 0, 2), (2, 3, 0, 3), (4, 4, 1, 1), (4, 5, 1, 2), (2, 6, 1, 3)]
