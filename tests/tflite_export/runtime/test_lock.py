"""One model, several threads."""

import threading
import time

import numpy as np
import pytest

from tests.tflite_export.runtime import stand_in
from tests.tflite_export.runtime.stand_in import INFER_BATCH, KERNEL, softmax
from tflite_export.runtime.progress import Progress
from tflite_export.runtime.state import read_state


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_a_prediction_during_fit_is_made_with_the_variables_of_one_step(make_model, samples, monkeypatch):
    """Every chunk of rows is slow, so that steps would fall between them."""
    x, y = samples
    model, known, answers, waited, going = make_model(), [], [], [], threading.Event()
    original = stand_in.Interpreter.infer

    def slow(self, x):
        time.sleep(0.003)
        return original(self, x)

    monkeypatch.setattr(stand_in.Interpreter, "infer", slow)
    known.append(model._signatures.save()["head/bias"])

    def ask():
        going.wait()
        for _ in range(15):
            before = model.steps
            answers.append(model.predict(x[: 3 * INFER_BATCH]))
            waited.append(model.steps - before)

    def note(result):
        known.append(model._signatures.save()["head/bias"])
        going.set()

    thread = in_thread(ask)
    epochs = 0
    while thread.is_alive() and epochs < 3000:
        model.fit(x, y, 1, learning_rate=0.3, after_step=note, verbose=False)
        epochs += 1
    thread.join()
    possible = [softmax(x[: 3 * INFER_BATCH] @ KERNEL + bias) for bias in known]
    matches = [min(range(len(possible)), key=lambda i: abs(possible[i] - answer).max()) for answer in answers]
    for answer, match in zip(answers, matches):
        np.testing.assert_allclose(answer, possible[match], atol=1e-6)
    assert len(answers) == 15 and len(set(matches)) > 1  # training went on between them
    assert sorted(waited)[len(waited) // 2] < 20  # steps: a thread that waits soon gets its turn


def test_a_state_saved_by_another_thread_has_the_progress_of_its_variables(make_model, samples, tmp_path, monkeypatch):
    x, y = samples
    model, going, saved = make_model(), threading.Event(), []
    by_step = {}
    original = Progress.after

    def slow(self, result):
        time.sleep(0.002)
        return original(self, result)

    monkeypatch.setattr(Progress, "after", slow)

    def save():
        going.wait()
        for index in range(20):
            model.save(tmp_path / f"{index}")
            saved.append(read_state(tmp_path / f"{index}"))

    def note(result):
        with model._lock:
            by_step[model.steps] = model._signatures.save()["head/bias"]
        going.set()

    thread = in_thread(save)
    model.fit(x, y, 60, learning_rate=0.01, after_step=note, verbose=False)
    thread.join()
    during = [state for state in saved if state.progress is not None]
    assert during
    for state in during:
        assert 3 * state.progress.epoch + state.progress.position == state.step
        np.testing.assert_array_equal(state.tensors["head/bias"], by_step[state.step])


def test_nothing_pulls_the_variables_from_under_a_running_fit(make_model, samples, tmp_path):
    model = make_model()
    model.save(tmp_path / "state")
    verbs = (
        lambda: model.restore(tmp_path / "state"),
        model.reset,
        lambda: model.fit(*samples, 1, verbose=False),
    )
    for verb in verbs:
        with pytest.raises(RuntimeError, match="running"):
            model.fit(*samples, 1, after_step=lambda result: verb(), verbose=False)  # noqa: B023
    assert model.steps == len(verbs)
    model.reset()
