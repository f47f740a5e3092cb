"""Steps by way of micro-batches: what the host does around `accumulate` and `apply`."""

import keras
import numpy as np
import pytest

import tflite_export
from tflite_export.runtime import OnDeviceModel

BATCH, MICRO_BATCH = 6, 2


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head")])
    path = tmp_path_factory.mktemp("accumulation") / "model.tflite"
    options = {"batch_size": BATCH, "micro_batch": MICRO_BATCH, "clip_norm": 100.0}
    tflite_export.export(model, path, optimizer=tflite_export.SGD(0.9), **options)
    return path


@pytest.fixture
def model(path):
    return OnDeviceModel(path)


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    return random.normal(size=(BATCH, 4)).astype(np.float32), random.integers(0, 3, BATCH)


@pytest.fixture
def calls(model, monkeypatch):
    """Which signatures run, with the labels that they get."""
    calls = []
    for name in ("accumulate", "apply", "restore"):
        run = getattr(model._signatures, name)

        def noted(*arguments, name=name, run=run):
            calls.append((name, arguments[1].tolist()) if name == "accumulate" else name)
            return run(*arguments)

        monkeypatch.setattr(model._signatures, name, noted)
    return calls


def variables(model):
    return model._signatures.save()


def assert_same(first, second):
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_a_short_batch_is_padded_and_a_micro_batch_that_does_not_count_is_left_out(model, samples, calls):
    x, _ = samples
    result = model.train_step(x[:5], [0, 2, -1, -1, 1], 0.1)
    assert calls == [("accumulate", [0, 2]), ("accumulate", [1, -1]), "apply"]
    assert (result.count, result.skipped, model.steps) == (3, False, 1)


def test_loss_and_correct_are_those_of_the_whole_batch(model, samples):
    x, y = samples
    y = np.array([*y[:3], -1, *y[4:]])
    logits = model.predict(x)
    valid = y >= 0
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(BATCH), y]
    result = model.train_step(x, y, 0.1)
    assert result.loss == pytest.approx(losses[valid].mean(), rel=1e-5)
    assert (result.correct, result.count) == ((logits.argmax(1) == y)[valid].sum(), 5)


def test_without_a_valid_row_nothing_runs(model, samples, calls):
    before = variables(model)
    result = model.train_step(samples[0], [-1] * BATCH, 0.1)
    assert calls == [] and (result.loss, result.count, result.skipped, model.steps) == (0, 0, False, 0)
    assert_same(variables(model), before)


def test_a_step_that_is_not_finite_is_skipped_and_the_next_one_is_clean(model, path, samples):
    factory = variables(model)
    bias = next(name for name in factory if name.endswith("/bias"))
    model._signatures.restore({**factory, bias: np.array([0, np.nan, 0], np.float32)})
    spoiled = variables(model)
    result = model.train_step(*samples, 0.1)
    assert result.skipped and np.isnan(result.loss) and (model.steps, model.skipped_steps) == (0, 1)
    assert_same(variables(model), spoiled)
    model._signatures.restore(factory)
    fresh = OnDeviceModel(path)
    for each in (model, fresh):
        assert not each.train_step(*samples, 0.1).skipped
    assert_same(variables(model), variables(fresh))


@pytest.mark.parametrize("when", ["accumulate", "apply"])
def test_an_interrupted_step_leaves_nothing_behind(model, path, samples, monkeypatch, when):
    run, count = getattr(model._signatures, when), iter(range(9))

    def interrupted(*arguments):
        if next(count) == (1 if when == "accumulate" else 0):
            raise KeyboardInterrupt
        return run(*arguments)

    before = variables(model)
    with monkeypatch.context() as patch:
        patch.setattr(model._signatures, when, interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.train_step(*samples, 0.1)
    assert_same(variables(model), before)
    fresh = OnDeviceModel(path)
    for each in (model, fresh):
        each.train_step(*samples, 0.1)
    assert_same(variables(model), variables(fresh))


def test_info_tells_of_it(model):
    assert (model.info["micro_batch"], model.info["clip_norm"]) == (MICRO_BATCH, 100.0)
