"""OnDeviceModel on a file that `tflite_export.export` wrote, run by LiteRT."""

import json
import threading

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflite_export
import tinytl_keras
from tflite_export.runtime import OnDeviceModel

SHAPE, BATCH, CLASSES, NAMES = (9, 7, 3), 4, 5, ["a", "b", "c"]


def network(seed):
    keras.utils.set_random_seed(seed)
    image = keras.Input(SHAPE)
    x = keras.layers.Conv2D(6, 3, 2, "same", use_bias=False, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.ReLU(6.0, name="relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(CLASSES, "softmax", name="head")(x))
    return tinytl_keras.convert(model, "bias")


@pytest.fixture(scope="module", params=[("xnnpack", None), ("builtin", None), ("xnnpack", 1), ("builtin", 2)], ids=str)
def exported(request, tmp_path_factory):
    """The Keras model and its file: with the signature train, or with accumulate and apply."""
    model, path = network(0), tmp_path_factory.mktemp("exported") / "model.tflite"
    kernels, micro_batch = request.param
    options = {"batch_size": BATCH, "infer_batch_size": 3, "class_names": NAMES, "kernels": kernels}
    options["micro_batch"] = micro_batch
    tflite_export.export(model, path, input_scale=1 / 255, input_offset=-0.5, **options)
    return model, path


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (10, *SHAPE), np.uint8), rng.integers(0, 3, 10)


def scaled(images):
    return images.astype(np.float32) / 255 - 0.5


def variables(model):
    return model._signatures.save()


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_info_is_the_info_signature(exported):
    _, path = exported
    runner = Interpreter(model_path=str(path)).get_signature_runner("info")
    model = OnDeviceModel(path)
    assert model.info == json.loads(runner(request=np.zeros(1, np.float32))["json"].tobytes())
    assert (model.info["class_names"], model.info["batch_size"]) == (NAMES, BATCH)
    assert {entry["name"] for entry in model.info["trainables"]} == set(variables(model))


def test_predictions_are_those_of_keras_with_spare_outputs_masked(exported, samples):
    keras_model, path = exported
    images, _ = samples
    expected = keras_model.predict(scaled(images), verbose=0)
    expected[:, 3:] = 0
    np.testing.assert_allclose(OnDeviceModel(path).predict(images), expected, atol=1e-5)


def test_fit_is_keras_on_the_same_batches(exported, samples):
    """The last batch of ten is short: Keras takes the mean over two rows, and so must the padded step."""
    keras_model, path = exported
    images, labels = samples
    before = keras_model.get_weights()
    keras_model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    keras_history = keras_model.fit(scaled(images), labels, BATCH, epochs=3, shuffle=False, verbose=0).history
    expected = {variable.path: variable.numpy() for variable in keras_model.trainable_variables}
    loss, _ = keras_model.evaluate(scaled(images), labels, verbose=0)
    keras_model.set_weights(before)

    model = OnDeviceModel(path)
    start = variables(model)
    history = model.fit(images, labels, 3, learning_rate=0.1, shuffle=False, verbose=False)
    trained = variables(model)
    for name, value in expected.items():
        update, keras_update = trained[name] - start[name], value - start[name]
        assert np.linalg.norm(update - keras_update) <= 1e-3 * np.linalg.norm(keras_update), name
    np.testing.assert_allclose(history["loss"], keras_history["loss"], rtol=1e-4)
    np.testing.assert_allclose(history["accuracy"], keras_history["accuracy"])
    assert model.evaluate(images, labels).loss == pytest.approx(loss, rel=1e-4)


def test_save_and_restore_on_a_fresh_interpreter_go_on_as_if_never_stopped(exported, samples, tmp_path):
    _, path = exported
    images, labels = samples[0][:4], samples[1][:4]
    model = OnDeviceModel(path)
    factory = variables(model)
    for _ in range(2):
        model.train_step(images, labels, 0.1)
    model.save(tmp_path / "state.safetensors")
    saved = variables(model)
    again = OnDeviceModel(path, state=tmp_path / "state.safetensors")
    assert_same(variables(again), saved)
    np.testing.assert_array_equal(again.predict(images), model.predict(images))
    for each in (model, again):
        each.train_step(images, labels, 0.1)
    assert_same(variables(again), variables(model))
    model.reset()
    assert_same(variables(model), factory)


def test_refused_input_changes_no_variable(exported, samples):
    _, path = exported
    model = OnDeviceModel(path)
    before = variables(model)
    x = scaled(samples[0][:4])
    x[2, 1, 1, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        model.train_step(x, samples[1][:4], 0.1)
    with pytest.raises(ValueError, match="spare output"):
        model.train_step(samples[0][:4], [0, 1, 2, 3], 0.1)
    model.train_step(samples[0][:4], [-1] * 4, 0.1)
    assert_same(variables(model), before)


def test_a_step_whose_outputs_are_not_finite_changes_nothing_and_is_counted(exported, samples):
    """NaN, not infinity: LiteRT's own FULLY_CONNECTED clamps infinities to the largest float."""
    _, path = exported
    model = OnDeviceModel(path)
    spoiled = {**variables(model), "head/bias": np.array([0, 0, np.nan, 0, 0], np.float32)}
    model._signatures.restore(spoiled)
    result = model.train_step(samples[0][:4], samples[1][:4], 0.1)
    assert_same(variables(model), spoiled)
    assert result.skipped and model.skipped_steps == 1


def test_the_state_of_another_network_of_the_same_shape_is_refused(exported, samples, tmp_path):
    _, path = exported
    tflite_export.export(network(1), tmp_path / "other.tflite", verify=False)
    OnDeviceModel(tmp_path / "other.tflite").save(tmp_path / "state")
    model = OnDeviceModel(path)
    before = variables(model)
    with pytest.raises(ValueError, match="names and shapes agree, but the frozen weights are others"):
        model.restore(tmp_path / "state")
    assert_same(variables(model), before)


def test_truncating_a_real_file_anywhere_is_a_value_error(exported, tmp_path):
    _, path = exported
    content, cut = path.read_bytes(), tmp_path / "cut.tflite"
    for length in np.linspace(8, len(content) - 16, 40).astype(int):
        cut.write_bytes(content[:length])
        with pytest.raises(ValueError):
            OnDeviceModel(cut)


def test_every_flipped_bit_of_a_real_file_is_a_value_error(exported, tmp_path):
    _, path = exported
    content, damaged = path.read_bytes(), tmp_path / "damaged.tflite"
    for bit in np.random.default_rng(0).choice(8 * len(content), 400, replace=False):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(flipped)
        with pytest.raises(ValueError, match=str(damaged)):
            OnDeviceModel(damaged)


def test_a_model_stays_as_it_is_when_another_file_takes_its_place(exported, samples, tmp_path):
    """LiteRT maps the file; what a rename removes stays mapped."""
    path = tmp_path / "model.tflite"
    path.write_bytes(exported[1].read_bytes())
    model = OnDeviceModel(path)
    tflite_export.export(network(1), path, verify=False)
    expected = OnDeviceModel(exported[1])
    np.testing.assert_array_equal(model.predict(samples[0]), expected.predict(samples[0]))
    model.train_step(samples[0][:4], samples[1][:4], 0.1)
    model.reset()
    assert model.info["fingerprint"] != expected.info["fingerprint"]


def test_another_thread_predicts_during_fit_with_the_variables_of_one_step(exported, samples):
    """Ten rows are four chunks of `infer`, between which no step may fall."""
    _, path = exported
    images, labels = samples
    model = OnDeviceModel(path)
    possible, answers, going = [model.predict(images)], [], threading.Event()

    def note(_):
        possible.append(model.predict(images))
        going.set()

    def ask():
        going.wait()
        for _ in range(30):
            answers.append(model.predict(images))

    thread = threading.Thread(target=ask)
    thread.start()
    while thread.is_alive():
        model.fit(images, labels, 5, learning_rate=0.5, after_step=note, verbose=False)
    thread.join()
    known = {answer.tobytes() for answer in possible}
    assert len(answers) == 30 and {answer.tobytes() for answer in answers} <= known
