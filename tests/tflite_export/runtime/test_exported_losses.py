"""OnDeviceModel on exported files of every loss and optimizer, against Keras."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import tflite_export
from tflite_export.runtime import OnDeviceModel

SHAPE, BATCH, ROWS, OUTPUTS = (6, 5, 2), 4, 10, 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(ROWS, *SHAPE)).astype(np.float32)
OPTIMIZERS = {
    "sgd": (tflite_export.SGD(), keras.optimizers.SGD),
    "momentum": (tflite_export.SGD(0.9, nesterov=True), lambda rate: keras.optimizers.SGD(rate, 0.9, nesterov=True)),
    "adam": (tflite_export.Adam(), keras.optimizers.Adam),
}
LABELS = {
    "categorical_crossentropy": RANDOM.dirichlet(np.ones(OUTPUTS), ROWS).astype(np.float32),
    "binary_crossentropy": RANDOM.integers(0, 2, (ROWS, OUTPUTS)).astype(np.float32),
    "mean_squared_error": RANDOM.normal(size=(ROWS, *SHAPE[:2], OUTPUTS)).astype(np.float32),
}


def network(loss):
    keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv", trainable=False)(image)
    if loss == "mean_squared_error":  # an image comes out
        return keras.Model(image, layers.Conv2D(OUTPUTS, 1, name="head")(x))
    x = layers.Flatten(name="flat")(x)
    end = "sigmoid" if loss == "binary_crossentropy" else "softmax"
    return keras.Model(image, layers.Dense(OUTPUTS, end, name="head")(x))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A function: loss, optimizer -> path of an exported file."""
    folder, files = tmp_path_factory.mktemp("files"), {}

    def export(loss, optimizer="sgd", **options):
        key = (loss, optimizer, *options.items())
        if key not in files:
            files[key] = folder / f"{len(files)}.tflite"
            options = {"batch_size": BATCH, "infer_batch_size": 3, "verify": False, **options}
            tflite_export.export(network(loss), files[key], loss=loss, optimizer=OPTIMIZERS[optimizer][0], **options)
        return files[key]

    return export


def variables(model):
    return model._signatures.save()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", LABELS)
def test_fit_is_keras_on_the_same_batches(file, loss, optimizer):
    """The last batch is short, so the padded rows must not count, neither in the loss nor for the optimizer."""
    y = LABELS[loss]
    keras_model = network(loss)
    keras_model.compile(OPTIMIZERS[optimizer][1](0.01), loss)
    keras_history = keras_model.fit(X, y, BATCH, epochs=3, shuffle=False, verbose=0).history
    model = OnDeviceModel(file(loss, optimizer))
    start = variables(model)
    history = model.fit(X, y, 3, learning_rate=0.01, shuffle=False, verbose=False)
    for variable in keras_model.trainable_variables:
        expected = variable.numpy() - start[variable.path]
        update = variables(model)[variable.path] - start[variable.path]
        assert np.linalg.norm(update - expected) <= 2e-3 * np.linalg.norm(expected), variable.path
    np.testing.assert_allclose(history["loss"], keras_history["loss"], rtol=1e-4)
    assert model.evaluate(X, y).loss == pytest.approx(keras_model.evaluate(X, y, verbose=0), rel=1e-4)
    np.testing.assert_allclose(model.predict(X), keras_model.predict(X, verbose=0), atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("loss", ["categorical_crossentropy", "binary_crossentropy"])
def test_evaluate_is_what_training_sees(file, loss, smoothing):
    model = OnDeviceModel(file(loss, label_smoothing=smoothing))
    y = LABELS[loss][:4].copy()
    y[2, 0] = np.nan
    step, result = model.train_step(X[:4], y, 0.0), model.evaluate(X[:4], y)
    assert (step.count, result.count) == (3, 3)
    assert result.loss == pytest.approx(step.loss, rel=1e-5)
    assert result.accuracy == pytest.approx(step.correct / 3)


def test_regression_has_no_accuracy(file, capsys):
    loss = "mean_squared_error"
    model, y = OnDeviceModel(file(loss)), LABELS[loss]
    history = model.fit(X, y, 1, validation=(X, y))
    assert math.isnan(history["accuracy"][0]) and math.isnan(history["validation_accuracy"][0])
    assert math.isfinite(history["validation_loss"][0])
    assert "accuracy" not in capsys.readouterr().err
    assert model.output_shape == (*SHAPE[:2], OUTPUTS)
    assert model.predict(X[:0]).shape == (0, *SHAPE[:2], OUTPUTS)
    assert math.isnan(model.evaluate(X, np.full_like(y, np.nan)).loss)


@pytest.mark.parametrize("loss", LABELS)
def test_wrong_labels_change_nothing(file, loss):
    model = OnDeviceModel(file(loss, "adam"))
    before = variables(model)
    y = LABELS[loss][:4].copy()
    y.flat[1] = np.inf
    for call in (model.evaluate, lambda x, y: model.train_step(x, y, 0.1), lambda x, y: model.fit(x, y, 1)):
        with pytest.raises(ValueError, match="Labels must be finite .* in row 0"):
            call(X[:4], y)
        with pytest.raises(ValueError, match="like the output"):
            call(X[:4], [0, 1, 2, 1])
    for name, value in variables(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_the_count_of_steps_is_adams_own(file):
    loss = "categorical_crossentropy"
    model, y = OnDeviceModel(file(loss, "adam")), LABELS[loss][:4]
    model.train_step(X[:4], y, 0.01)
    model.train_step(X[:4], np.full_like(y, np.nan), 0.01)  # no row counts
    trained = variables(model)
    model._signatures.restore({**trained, "head/bias": np.full(OUTPUTS, np.nan, np.float32)})
    assert model.train_step(X[:4], y, 0.01).skipped
    model._signatures.restore({**trained, "step": variables(model)["step"]})
    model.train_step(X[:2], y[:2], 0.01)
    assert variables(model)["step"] == [2]
    assert (model.steps, model.skipped_steps) == (2, 1)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_the_optimizers_variables_are_saved_restored_and_reset(file, optimizer, tmp_path):
    loss = "categorical_crossentropy"
    model, y = OnDeviceModel(file(loss, optimizer)), LABELS[loss][:4]
    factory = variables(model)
    assert {entry["name"] for entry in model.info["trainables"]} < set(factory)
    for _ in range(2):
        model.train_step(X[:4], y, 0.01)
    model.save(tmp_path / "state")
    again = OnDeviceModel(file(loss, optimizer), state=tmp_path / "state")
    assert again.steps == 2
    for each in (model, again):
        each.train_step(X[:4], y, 0.01)
    for name, value in variables(model).items():
        np.testing.assert_array_equal(variables(again)[name], value)
        assert (value != factory[name]).any(), name
    model.reset()
    for name, value in variables(model).items():
        np.testing.assert_array_equal(value, factory[name])


@pytest.mark.parametrize(
    ("saved", "restored", "message"),
    [
        ("sgd", "adam", "missing: head/bias/m\n.*missing: head/bias/v\n.*\n.*\n.*missing: step"),
        ("adam", "sgd", "unknown: head/bias/m\n"),
        ("momentum", "adam", "missing: head/bias/m\n(.*\n)*.*unknown: head/bias/momentum"),
    ],
)
def test_the_state_of_another_optimizer_is_refused_by_the_missing_variables(file, saved, restored, message, tmp_path):
    loss = "categorical_crossentropy"
    OnDeviceModel(file(loss, saved)).save(tmp_path / "state")
    model = OnDeviceModel(file(loss, restored))
    model.train_step(X[:4], LABELS[loss][:4], 0.01)
    before = variables(model)
    with pytest.raises(ValueError, match=message):
        model.restore(tmp_path / "state")
    for name, value in variables(model).items():
        np.testing.assert_array_equal(value, before[name])
    assert model.steps == 1
