"""OnDeviceModel on several inputs and outputs, labels at every place, and integer inputs, against Keras."""

import math

import keras
import numpy as np
import pytest
from keras import layers

import tflite_export
from tests.tflite_export.test_several import LOSSES, WEIGHTS, batch, network
from tflite_export.runtime import OnDeviceModel

ROWS = 10
X, Y = batch(5, ROWS)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A function: options -> path of an exported file of `network` with a penalty."""
    folder, files = tmp_path_factory.mktemp("files"), {}

    def export(**options):
        key = repr(options)
        if key not in files:
            files[key] = folder / f"{len(files)}.tflite"
            options = {"batch_size": 4, "infer_batch_size": 4, "verify": False, "loss_weights": WEIGHTS, **options}
            tflite_export.export(network("l2"), files[key], loss=LOSSES, **options)
        return files[key]

    return export


def weights_of(model):
    return model._signatures.save()


def train_in_inference_mode(model):
    """Dropout is inert in the file."""
    model.get_layer("drop").rate = 0.0
    return model


@pytest.mark.parametrize("options", [{}, {"micro_batch": 2}])
def test_fit_is_keras_on_the_same_batches(file, options):
    """The last batch is short. Keras's loss holds the weighted losses of both outputs and the penalties."""
    keras_model = train_in_inference_mode(network("l2"))
    keras_model.compile(keras.optimizers.SGD(0.05), LOSSES, loss_weights=WEIGHTS, metrics={"kind": ["accuracy"]})
    keras_history = keras_model.fit(X, Y, 4, epochs=3, shuffle=False, verbose=0).history
    model = OnDeviceModel(file(**options))
    start = weights_of(model)
    history = model.fit(X, Y, 3, learning_rate=0.05, shuffle=False, verbose=False)
    for variable in keras_model.trainable_variables:
        expected = variable.numpy() - start[variable.path]
        update = weights_of(model)[variable.path] - start[variable.path]
        assert np.linalg.norm(update - expected) <= 2e-3 * np.linalg.norm(expected), variable.path
    for name in ("loss", "kind_accuracy"):
        np.testing.assert_allclose(history[name], keras_history[name], rtol=1e-4, err_msg=name)
    assert "accuracy" not in history and "size_accuracy" not in history
    eight = [{name: value[:8] for name, value in group.items()} for group in (X, Y)]
    keras_history = keras_model.fit(*eight, 4, shuffle=False, verbose=0).history
    again = model.fit(*eight, 1, learning_rate=0.05, shuffle=False, verbose=False)
    for name in ("loss", "kind_loss", "size_loss"):  # of a short batch Keras makes as much as of a full one here
        np.testing.assert_allclose(again[name], keras_history[name], rtol=1e-4, err_msg=name)
    expected = keras_model.evaluate(X, Y, verbose=0, return_dict=True)
    result = model.evaluate(X, Y)
    assert result.loss == pytest.approx(expected["loss"], rel=1e-4)
    assert {name: each.loss for name, each in result.outputs.items()} == {
        name: pytest.approx(expected[f"{name}_loss"], rel=1e-4) for name in LOSSES
    }
    assert result.accuracy == result.outputs["kind"].accuracy == pytest.approx(expected["kind_accuracy"])
    predicted = model.predict(X)
    for name, value in zip(LOSSES, keras_model.predict(X, verbose=0), strict=True):
        np.testing.assert_allclose(predicted[name], value, atol=1e-5)
    history = model.fit(X, Y, 1, learning_rate=0.0, verbose=False, validation=(X, Y))
    assert history["validation_loss"] == [result.loss]
    error = abs(predicted["size"] - Y["size"]).mean()
    assert result.outputs["size"].mean_absolute_error == pytest.approx(error, rel=1e-5)
    assert history["validation_size_mean_absolute_error"][-1] == pytest.approx(error, rel=1e-5)


def test_evaluate_is_what_training_sees_where_labels_are_missing(file):
    model = OnDeviceModel(file())
    x, y = ({name: value[:4].copy() for name, value in group.items()} for group in (X, Y))
    y["kind"][0], y["kind"][1], y["size"][1, 0], y["size"][2, 1] = -1, -1, np.nan, np.nan
    step, result = model.train_step(x, y, 0.0), model.evaluate(x, y)
    assert step.count == 3 and (step.outputs["kind"].count, step.outputs["size"].count) == (2, 2)
    assert step.correct == step.outputs["kind"].correct
    assert result.loss == pytest.approx(step.loss, rel=1e-5)
    for name, part in step.outputs.items():
        assert result.outputs[name].loss == pytest.approx(part.loss, rel=1e-5)
        assert result.outputs[name].count == part.count
    assert result.accuracy == step.correct / 2


def test_lists_in_keras_s_order_and_pixels(file):
    model = OnDeviceModel(file(input_scale={"image": 0.5}, input_offset={"image": -1.0}))
    pixels = np.arange(2 * 7 * 6 * 3, dtype=np.uint8).reshape(2, 7, 6, 3)
    table = np.ones((2, 4), int)  # another input's integers are not pixels
    expected = model.predict({"image": pixels * np.float32(0.5) - 1, "table": table.astype(np.float32)})
    for name, value in model.predict([pixels, table]).items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)
    with pytest.warns(UserWarning, match="floating point numbers from"):
        model.predict({"image": pixels.astype(np.float32) * 50, "table": table})


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (X["image"], Y, TypeError, "x must be a dict of arrays, with one for each of 'image', 'table'.*ndarray"),
        ({"image": X["image"]}, Y, ValueError, r"x must have an array .*It lacks \['table'\]"),
        ({**X, "more": 1}, Y, ValueError, r"It has \['more'\] besides"),
        ([X["image"]], Y, ValueError, "a list of 1"),
        ({**X, "table": X["table"][:, :3]}, Y, ValueError, r"x\['table'\]: x must have shape \[n, 4\]"),
        ({**X, "table": X["table"][:3]}, Y, ValueError, "as the others. Received: 10 of 'image', 3 of 'table'"),
        ({**X, "table": X["table"] * np.inf}, Y, ValueError, r"x\['table'\]: x holds NaN or infinity"),
        (X, Y["kind"], TypeError, "y must be a dict"),
        (X, {**Y, "kind": Y["kind"] + 3}, ValueError, r"y\['kind'\]: Labels must be in \[0, 3\)"),
        (X, {**Y, "size": Y["size"][:, :1]}, ValueError, r"y\['size'\]: y must have shape \[10, 2\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_changes_nothing(file, x, y, error, message):
    model = OnDeviceModel(file())
    before = weights_of(model)
    with pytest.raises(error, match=message):
        model.fit(x, y, 1, verbose=False)
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name])


def test_an_interrupted_fit_goes_on(file, tmp_path):
    whole, parts = OnDeviceModel(file()), OnDeviceModel(file())
    expected = whole.fit(X, Y, 2, verbose=False)

    class Stop(Exception):
        pass

    def rate(step):
        if step == 4:
            raise Stop
        return 0.01

    with pytest.raises(Stop):
        parts.fit(X, Y, 2, learning_rate=rate, verbose=False)
    parts.save(tmp_path / "state")
    parts = OnDeviceModel(file(), state=tmp_path / "state")
    history = parts.fit(X, Y, 2, verbose=False, resume=True)
    assert {name: values[-1:] for name, values in expected.items()} == history
    for name, value in weights_of(parts).items():
        np.testing.assert_array_equal(value, weights_of(whole)[name])


def test_augment_gets_every_input(file):
    def augment(x):
        assert set(x) == {"image", "table"}
        return {"image": x["image"][:, :, ::-1], "table": x["table"]}

    flipped = {**X, "image": X["image"][:, :, ::-1]}
    by_augment, by_hand = OnDeviceModel(file()), OnDeviceModel(file())
    by_augment.fit(X, Y, 1, augment=augment, verbose=False)
    by_hand.fit(flipped, Y, 1, verbose=False)
    for name, value in weights_of(by_augment).items():
        np.testing.assert_array_equal(value, weights_of(by_hand)[name])


def test_only_the_head_with_classes_has_names_to_add(file):
    model = OnDeviceModel(file(class_names=("a",)))
    assert model.add_class("b") == 1 and model.output_shape == (3,)
    predicted = model.predict(X)
    assert (predicted["kind"][:, 2] == 0).all() and (predicted["size"] != 0).all()
    with pytest.raises(ValueError, match=r"y\['kind'\]: Label 2 at index \d is a spare output"):
        model.evaluate(X, {**Y, "kind": np.full(ROWS, 2)})


SHAPE, CLASSES = (6, 5), 3
MAPS = np.random.default_rng(1).normal(size=(5, *SHAPE, 2)).astype(np.float32)
RANDOM = np.random.default_rng(2)
PLACES = {
    "sparse_categorical_crossentropy": RANDOM.integers(0, CLASSES, (5, *SHAPE)),
    "categorical_crossentropy": RANDOM.dirichlet(np.ones(CLASSES), (5, *SHAPE)).astype(np.float32),
    "binary_crossentropy": RANDOM.integers(0, 2, (5, *SHAPE, CLASSES)).astype(np.float32),
}


def of_maps(loss):
    keras.utils.set_random_seed(3)
    image = keras.Input((*SHAPE, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(image)
    end = "sigmoid" if loss == "binary_crossentropy" else "softmax"
    return keras.Model(image, layers.Conv2D(CLASSES, 1, activation=end, name="head")(x))


@pytest.mark.parametrize("options", [{}, {"micro_batch": 1}])
@pytest.mark.parametrize("loss", PLACES)
def test_a_label_at_every_place(loss, options, tmp_path):
    """Keras's steps on whole batches; places that do not count are left out of the mean."""
    if options and loss != "sparse_categorical_crossentropy":
        pytest.skip("one loss by way of micro-batches is enough")
    y, keras_model = PLACES[loss], of_maps(loss)
    keras_model.compile(keras.optimizers.SGD(0.1), loss)
    keras_history = keras_model.fit(MAPS[:4], y[:4], 2, epochs=2, shuffle=False, verbose=0).history
    options = {"batch_size": 2, "infer_batch_size": 2, "verify": False, **options}
    tflite_export.export(of_maps(loss), tmp_path / "x", loss=loss, **options)
    model = OnDeviceModel(tmp_path / "x")
    start = weights_of(model)
    history = model.fit(MAPS[:4], y[:4], 2, learning_rate=0.1, shuffle=False, verbose=False)
    for variable in keras_model.trainable_variables:
        expected = variable.numpy() - start[variable.path]
        update = weights_of(model)[variable.path] - start[variable.path]
        assert np.linalg.norm(update - expected) <= 2e-3 * np.linalg.norm(expected), variable.path
    np.testing.assert_allclose(history["loss"], keras_history["loss"], rtol=1e-4)

    y = y[:1].copy()
    y[0, 2, 3:] = -1 if y.dtype.kind == "i" else np.nan
    step, result = model.train_step(MAPS[:1], y, 0.0), model.evaluate(MAPS[:1], y)
    assert step.count == result.count == 28 and result.accuracy == step.correct / 28
    predicted, valid = np.asarray(model.predict(MAPS[:1]))[0].reshape(30, CLASSES), np.arange(30) // 5 * 0 == 0
    valid[13:15] = False
    function = keras.losses.get(loss)
    expected = np.asarray(function(y.reshape(30, *y.shape[3:])[valid], predicted[valid])).mean()
    assert step.loss == pytest.approx(expected, rel=1e-4) and result.loss == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match=r"y must have shape \[1, 6, 5"):
        model.evaluate(MAPS[:1], y[:, :1])


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("trains", [True, False])
def test_an_embedding(dtype, trains, tmp_path):
    """A word that comes twice adds up its gradients; words that never come keep their row."""

    def words():
        keras.utils.set_random_seed(4)
        given = keras.Input((5,), dtype=dtype)
        x = layers.Embedding(9, 4, name="table", trainable=trains)(given)
        return keras.Model(given, layers.Dense(3, name="head")(layers.Flatten(name="flat")(x)))

    random = np.random.default_rng(0)
    x, y = random.integers(0, 6, (8, 5)), random.integers(0, 3, 8)
    keras_model = words()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keras_model.compile(keras.optimizers.SGD(0.5), loss)
    keras_model.fit(x, y, 4, epochs=2, shuffle=False, verbose=0)
    report = tflite_export.export(words(), tmp_path / "x", batch_size=4, infer_batch_size=4)
    assert report.max_difference < 1e-4
    model = OnDeviceModel(tmp_path / "x")
    start = weights_of(model)
    assert ("table/embeddings" in start) == trains
    model.fit(x.astype(np.uint8), y, 2, learning_rate=0.5, shuffle=False, verbose=False)
    for variable in keras_model.trainable_variables:
        expected = variable.numpy() - start[variable.path]
        update = weights_of(model)[variable.path] - start[variable.path]
        assert np.linalg.norm(update - expected) <= 2e-3 * np.linalg.norm(expected), variable.path
    if trains:
        np.testing.assert_array_equal(weights_of(model)["table/embeddings"][6:], start["table/embeddings"][6:])
    with pytest.raises(TypeError, match=f"x must hold integers: the model's input is {dtype}. Received: dtype float64"):
        model.predict(x + 0.5)
    if dtype == "int32":
        with pytest.raises(ValueError, match="x must lie in what int32 holds"):
            model.predict(x + 2**40)


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"clip_norm": 0.1}, {"micro_batch": 1}])
def test_an_embedding_by_other_steps(options, tmp_path):
    """The gradient of the whole table, words that come twice added up, is what Adam and clipping see."""
    import tensorflow as tf

    keras.utils.set_random_seed(4)
    words = keras.Input((6,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(5, 4, name="table")(words))
    model = keras.Model(words, layers.Dense(3, name="head")(x))
    options = {"batch_size": 4, "infer_batch_size": 4, "verify": False, **options}
    tflite_export.export(model, tmp_path / "x", **options)
    device, random = OnDeviceModel(tmp_path / "x"), np.random.default_rng(0)
    start = weights_of(device)
    kind = keras.optimizers.Adam if options.get("optimizer") == "adam" else keras.optimizers.SGD
    optimizer = kind(0.01, global_clipnorm=options.get("clip_norm"))
    before = {v.path: v.numpy() for v in model.trainable_variables}
    for _ in range(3):
        x, y = random.integers(0, 4, (4, 6)), random.integers(0, 3, 4)
        device.train_step(x, y, 0.01)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
        optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], model.trainable_variables)
    for variable in model.trainable_variables:
        expected = variable.numpy() - before[variable.path]
        update = weights_of(device)[variable.path] - start[variable.path]
        assert np.linalg.norm(update - expected) <= 2e-3 * np.linalg.norm(expected), variable.path


@pytest.mark.parametrize("options", [{}, {"batch_size": 2, "micro_batch": 1}])
def test_a_word_that_the_table_lacks_changes_nothing(options, tmp_path):
    keras.utils.set_random_seed(4)
    words, other = keras.Input((2,), dtype="int32", name="words"), keras.Input((1,), name="other")
    features = layers.Concatenate()([layers.Flatten()(layers.Embedding(5, 4)(words)), other])
    model = keras.Model([words, other], layers.Dense(3)(features))
    tflite_export.export(model, tmp_path / "x", verify=False, **options)
    device = OnDeviceModel(tmp_path / "x")
    before, rows = weights_of(device), options.get("batch_size", 1)
    x = {"words": np.array([[1, 4], [1, 5]])[-rows:], "other": np.full((rows, 1), 0.5)}
    for call in (lambda: device.predict(x), lambda: device.train_step(x, [0] * rows, 0.1)):
        with pytest.raises(
            ValueError, match=r"from 0 to the number of the table's rows.*Received: words with 1 to 5\.$"
        ):
            call()
    for name, value in weights_of(device).items():
        np.testing.assert_array_equal(value, before[name])
    x["words"][-1, 1] = 4
    assert device.train_step(x, [0] * rows, 0.1).count == rows


def test_pixels_and_augmentation_inside_the_model(tmp_path):
    """uint8 goes in; what is random in training is inert, and the report says so."""

    def pixels():
        keras.utils.set_random_seed(5)
        x = given = keras.Input((8, 8, 3), dtype="uint8")
        for layer in (
            layers.Rescaling(1 / 127.5, -1),
            layers.RandomFlip(name="flip"),
            layers.RandomRotation(0.2, name="turn"),
            layers.Resizing(6, 6),
            layers.Normalization(mean=[0.1, 0, 0], variance=[1.0, 2, 1]),
            layers.Dropout(0.5, name="drop"),
            layers.Dropout(0.0, name="none"),
            layers.Flatten(),
            layers.Dense(3, name="head"),
        ):
            x = layer(x)
        return keras.Model(given, x)

    report = tflite_export.export(pixels(), tmp_path / "x", batch_size=2, infer_batch_size=2)
    assert report.max_difference < 1e-4
    assert report.inert_layers == ("flip (RandomFlip)", "turn (RandomRotation)", "drop (Dropout)")
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    expected = pixels()(x, training=False)
    np.testing.assert_allclose(OnDeviceModel(tmp_path / "x").predict(x), expected, atol=1e-5)


def test_a_model_that_defines_its_own_call_trains_once_it_is_wrapped(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.hidden, self.head = layers.Dense(5, "relu", name="hidden"), layers.Dense(3, name="head")

        def call(self, x):
            return self.head(self.hidden(x))

    keras.utils.set_random_seed(0)
    own = Own()
    own(np.zeros((1, 4), np.float32))
    x = keras.Input((4,))
    report = tflite_export.export(keras.Model(x, own(x)), tmp_path / "x", batch_size=3)
    assert report.max_difference < 1e-4 and len(report.trainable_names) == 4


def test_regression_reports_its_mean_absolute_error(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="head")])
    tflite_export.export(model, tmp_path / "x", loss="mean_squared_error", verify=False, batch_size=4)
    random = np.random.default_rng(0)
    x, y = random.normal(size=(6, 4)), random.normal(size=(6, 2))
    device = OnDeviceModel(tmp_path / "x")
    history = device.fit(x, y, 1, validation=(x, y), verbose=False)
    expected = abs(device.predict(x) - y).mean()
    assert device.evaluate(x, y).mean_absolute_error == pytest.approx(expected, rel=1e-5)
    assert history["validation_mean_absolute_error"] == [pytest.approx(expected, rel=1e-5)]
    assert math.isnan(device.evaluate(x, y).accuracy)
