"""The host's side of OnDeviceModel, on a numpy stand-in for the interpreter."""

import math

import numpy as np
import pytest

from tests.tflite_export.runtime.stand_in import BATCH, CLASSES, INFO, KERNEL, softmax
from tflite_export.runtime import OnDeviceModel
from tflite_export.runtime.state import State, read_state, write_state


def bias(model):
    return model._signatures.save()["head/bias"]


def test_a_short_batch_is_padded_with_rows_that_do_not_count(make_model, calls, samples):
    model = make_model()
    x, y = samples[0][:3], samples[1][:3]
    result = model.train_step(x, y, 0.5)
    _, inputs = calls[-1]
    np.testing.assert_array_equal(inputs["x"], np.vstack([x, np.zeros((1, 4))]))
    np.testing.assert_array_equal(inputs["y"], [*y, -1])
    probabilities = softmax(x @ KERNEL)
    assert result.loss == pytest.approx(-np.log(probabilities[range(3), y]).mean(), rel=1e-6)
    assert (result.count, result.skipped) == (3, False)
    expected = -0.5 * (probabilities - np.eye(CLASSES)[y]).mean(axis=0)
    np.testing.assert_allclose(bias(model), expected, rtol=1e-5)
    assert (model.steps, model.skipped_steps) == (1, 0)


def test_integer_images_are_scaled_and_floats_are_not(make_model, calls):
    model = make_model()
    images = np.array([[0, 2, 4, 200]], np.uint8)
    model.train_step(images, [0], 0.1)
    np.testing.assert_array_equal(calls[-1][1]["x"][0], [-1.0, 0.0, 1.0, 99.0])
    model.train_step(images.astype(np.float64), [0], 0.1)
    np.testing.assert_array_equal(calls[-1][1]["x"][0], [0, 2, 4, 200])


NAN_ROW = np.zeros((2, 4), np.float32)
NAN_ROW[1, 2] = np.nan
TOO_LARGE = np.full((2, 4), 1e300)
GOOD_X, GOOD_Y = np.zeros((2, 4), np.float32), np.array([0, 1])


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((2, 5)), GOOD_Y, ValueError, r"shape \[n, 4\]\. Received: \[2, 5\]"),
        (np.zeros(4), GOOD_Y, ValueError, r"Add the batch axis"),
        (np.float32(3), GOOD_Y, ValueError, r"Received: \[\]"),
        ([[1, 2], [3]], GOOD_Y, ValueError, r"shape \[n, 4\]\. Received: a ragged list"),
        ({"x": GOOD_X}, GOOD_Y, TypeError, r"an array \[n, 4\]\. Received: dict"),
        (None, GOOD_Y, TypeError, "Received: NoneType"),
        (np.zeros((2, 4), bool), GOOD_Y, TypeError, "dtype bool"),
        (np.array([["a"] * 4] * 2), GOOD_Y, TypeError, "dtype <U1"),
        (NAN_ROW, GOOD_Y, ValueError, "NaN or infinity .*row 1"),
        (TOO_LARGE, GOOD_Y, ValueError, "NaN or infinity .*row 0"),
        (GOOD_X, [0, 3], ValueError, r"\[0, 3\).*Received: 3 at index 1"),
        (GOOD_X, [-2, 0], ValueError, "Received: -2 at index 0"),
        (GOOD_X, np.array([0, 2**63], np.uint64), ValueError, "Received: 9223372036854775808"),
        (GOOD_X, [0.0, 1.0], TypeError, "integer class indices. Received: dtype float64"),
        (GOOD_X, np.eye(2, 3), TypeError, "argmax"),
        (GOOD_X, [0], ValueError, r"shape \[2\].*Received: \[1\]"),
        (GOOD_X, [[0], [1]], ValueError, r"Flatten it"),
    ],
)
def test_wrong_samples_are_refused_before_anything_changes(make_model, calls, x, y, error, message):
    model = make_model()
    with pytest.raises(error, match=message):
        model.train_step(x, y, 0.1)
    with pytest.raises(error, match=message):
        model.fit(x, y, 1, verbose=False)
    with pytest.raises(error, match=message):
        model.evaluate(x, y)
    assert [name for name, _ in calls if name != "infer"] == []
    assert model.steps == 0


def test_a_later_bad_row_is_found_before_the_first_step(make_model, calls):
    x = np.zeros((1000, 4))
    x[900, 0] = np.inf
    with pytest.raises(ValueError, match="row 900"):
        make_model().fit(x, np.zeros(1000, int), 1, verbose=False)
    assert calls == []


@pytest.mark.parametrize("rows", [0, BATCH + 1])
def test_a_batch_of_another_size_is_refused(make_model, rows):
    with pytest.raises(ValueError, match=f"batches of 1 to {BATCH} rows. Received: {rows}"):
        make_model().train_step(np.zeros((rows, 4)), np.zeros(rows, int), 0.1)
    with pytest.raises(ValueError):
        make_model().fit(np.zeros((9, 4)), np.zeros(9, int), 1, batch_size=rows)


@pytest.mark.parametrize("rate", [math.nan, -1.0])
def test_a_bad_learning_rate_changes_nothing(make_model, calls, rate):
    with pytest.raises(ValueError, match="learning rate"):
        make_model().train_step(GOOD_X, GOOD_Y, rate)
    assert calls == []


def test_a_step_without_a_finite_loss_is_counted_as_skipped(make_model, samples):
    model = make_model()
    state = {"head/bias": np.full(CLASSES, np.inf, np.float32)}
    model._signatures.restore(state)
    with np.errstate(invalid="ignore"):
        result = model.train_step(samples[0][:4], samples[1][:4], 0.1)
    assert result.skipped
    assert (model.steps, model.skipped_steps) == (0, 1)
    np.testing.assert_array_equal(bias(model), state["head/bias"])


def test_predict_pads_chunks_and_returns_every_row(make_model, calls, samples):
    x, _ = samples
    output = make_model().predict(x[:5])
    assert len(calls) == 3  # 2 + 2 + 1 rows
    np.testing.assert_allclose(output, softmax(x[:5] @ KERNEL), rtol=1e-6)
    assert make_model().predict(x[:0]).shape == (0, CLASSES)


def test_evaluate_leaves_out_ignored_rows(make_model, samples):
    x, y = samples
    y = np.where(np.arange(10) == 4, -1, y)
    result = make_model().evaluate(x, y)
    probabilities, kept = softmax(x @ KERNEL), y >= 0
    assert result.loss == pytest.approx(-np.log(probabilities[kept, y[kept]]).mean(), rel=1e-5)
    assert result.accuracy == pytest.approx((probabilities.argmax(1) == y)[kept].mean())
    assert result.count == 9
    assert math.isnan(make_model().evaluate(x, np.full(10, -1)).loss)


def test_the_evaluated_loss_is_smoothed_as_the_trained_one(make_model, samples):
    x, y = samples
    target = np.eye(CLASSES)[y] * 0.9 + 0.1 / CLASSES
    expected = -(np.log(softmax(x @ KERNEL)) * target).sum(axis=1).mean()
    assert make_model(label_smoothing=0.1).evaluate(x, y).loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("activation", "masked"), [("softmax", 0.0), ("linear", -np.inf)])
def test_spare_outputs_are_never_predicted_until_they_are_named(make_model, samples, activation, masked):
    x, _ = samples
    model = make_model(class_names=["cat", "dog"], output_activation=activation)
    assert (softmax(x @ KERNEL).argmax(axis=1) == 2).any()
    assert (model.predict(x)[:, 2] == masked).all()
    assert (model.predict(x).argmax(axis=1) < 2).all()
    with pytest.raises(ValueError, match="Label 2 at index 0 is a spare output"):
        model.train_step(x[:1], [2], 0.1)

    assert model.add_class("bird") == 2
    assert model.info["class_names"] == ["cat", "dog", "bird"]
    assert (model.predict(x).argmax(axis=1) == 2).any()
    model.train_step(x[:1], [2], 0.1)
    with pytest.raises(ValueError, match="All 3 outputs have a name"):
        model.add_class("fish")


def test_accuracy_is_that_of_predict_and_the_loss_is_that_of_training(make_model, samples):
    x, _ = samples
    model = make_model(class_names=["cat", "dog"])
    y = model.predict(x).argmax(axis=1)
    result = model.evaluate(x, y)
    assert result.accuracy == 1.0
    assert result.loss == pytest.approx(-np.log(softmax(x @ KERNEL)[range(10), y]).mean(), rel=1e-5)


def test_add_class_needs_names_and_refuses_a_second_of_one_name(make_model):
    with pytest.raises(ValueError, match="names no classes"):
        make_model().add_class("bird")
    with pytest.raises(ValueError, match="a class 'cat' already, at index 0"):
        make_model(class_names=["cat"]).add_class("cat")


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        (9, TypeError, "must be a string. Received: 9 of type int"),
        (None, TypeError, "Received: None"),
        ("", ValueError, "must not be empty. Received: ''"),
        (" ", ValueError, "must not be empty"),
    ],
)
def test_add_class_refuses_what_is_no_name(make_model, name, error, message):
    model = make_model(class_names=["cat"])
    with pytest.raises(error, match=message):
        model.add_class(name)
    assert model.class_names == ["cat"]


def test_class_names_are_those_known_so_far(make_model):
    model = make_model(class_names=["cat"])
    model.add_class("dog")
    assert model.class_names == model.info["class_names"] == ["cat", "dog"]
    model.class_names.append("bird")
    assert model.class_names == ["cat", "dog"]
    assert make_model().class_names is None


@pytest.mark.parametrize("loss", ["binary_crossentropy", "mean_squared_error"])
def test_without_exclusive_classes_no_output_is_spare(make_model, samples, loss):
    model = make_model(class_names=["cat", "dog"], loss=loss)
    np.testing.assert_allclose(model.predict(samples[0]), softmax(samples[0] @ KERNEL), rtol=1e-6)
    with pytest.raises(ValueError, match=f"loss '{loss}' every output counts"):
        model.add_class("bird")


def test_restore_takes_added_names_and_refuses_other_ones(make_model, tmp_path):
    model = make_model(class_names=["cat"])
    model.add_class("dog")
    model.save(tmp_path / "state")
    renamed = make_model(class_names=["horse"])
    with pytest.raises(ValueError, match=r"file, with 3 outputs: \['horse'\]\n  the state: \['cat', 'dog'\]"):
        renamed.restore(tmp_path / "state")
    assert renamed.info["class_names"] == ["horse"]
    same = make_model(class_names=["cat"])
    same.add_class("fish")
    same.restore(tmp_path / "state")
    assert same.info["class_names"] == ["cat", "dog"]
    same.add_class("bird")
    same.restore(tmp_path / "state")
    assert same.info["class_names"] == ["cat", "dog"]


def test_info_is_a_copy(make_model):
    model = make_model(class_names=["cat"])
    model.info["class_names"].append("dog")
    assert model.info["class_names"] == ["cat"]


def test_save_and_restore_go_on_as_if_never_stopped(make_model, samples, tmp_path):
    x, y = samples[0][:4], samples[1][:4]
    model = make_model(class_names=["cat"])
    model.add_class("dog")
    y = np.minimum(y, 1)
    model.train_step(x, y, 0.5)
    model.save(tmp_path / "state.safetensors")
    model.train_step(x, y, 0.5)

    again = OnDeviceModel(tmp_path / "model.tflite", state=tmp_path / "state.safetensors")
    assert again.steps == 1
    assert again.info["class_names"] == ["cat", "dog"]
    again.train_step(x, y, 0.5)
    np.testing.assert_array_equal(bias(again), bias(model))


def test_save_never_destroys_the_model(make_model, samples, tmp_path):
    model = make_model()
    content = (tmp_path / "model.tflite").read_bytes()
    with pytest.raises(ValueError, match=r"model.tflite is a .tflite file.*like .*model.safetensors"):
        model.save(tmp_path / "model.tflite")
    assert (tmp_path / "model.tflite").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["model.tflite"]


def test_another_models_state_changes_nothing(make_model, tmp_path):
    model = make_model()
    state = State({"head/bias": np.ones(5, np.float32)}, INFO["fingerprint"])
    write_state(tmp_path / "other", state)
    with pytest.raises(ValueError, match=r"head/bias: expected float32\[3\], found float32\[5\]"):
        model.restore(tmp_path / "other")
    write_state(tmp_path / "other", State({"head/bias": np.ones(3, np.float32)}, "decaf"))
    with pytest.raises(ValueError, match="decaf"):
        model.restore(tmp_path / "other")
    assert (bias(model) == 0).all()


def test_reset_returns_to_the_factory(make_model, samples):
    model = make_model(class_names=["cat"])
    model.add_class("dog")
    model.fit(samples[0], np.minimum(samples[1], 1), 2, verbose=False)
    assert (bias(model) != 0).any()
    model.reset()
    assert (bias(model) == 0).all()
    assert (model.steps, model.info["class_names"]) == (0, ["cat"])


def test_reset_reads_the_file_again_and_keeps_everything_if_it_is_gone(make_model, samples, tmp_path):
    model = make_model()
    model.train_step(samples[0][:4], samples[1][:4], 0.1)
    before = bias(model)
    (tmp_path / "model.tflite").unlink()
    with pytest.raises(FileNotFoundError):
        model.reset()
    np.testing.assert_array_equal(bias(model), before)
    assert model.steps == 1


def test_save_writes_the_step_and_fingerprint(make_model, samples, tmp_path):
    model = make_model()
    model.fit(*samples, epochs=2, verbose=False)
    model.save(str(tmp_path / "state"))
    state = read_state(tmp_path / "state")
    assert (state.step, state.fingerprint, state.progress) == (6, INFO["fingerprint"], None)
