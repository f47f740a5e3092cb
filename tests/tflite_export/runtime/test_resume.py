"""A fit in LiteRT that is interrupted, saved and resumed ends, to the bit, as if it had never stopped."""

import keras
import numpy as np
import pytest
from keras import layers

import tflite_export
from tflite_export.runtime import OnDeviceModel, cosine

CASES = {
    "adam": {"optimizer": tflite_export.Adam(weight_decay=0.02)},
    "adam in micro-batches": {"optimizer": tflite_export.Adam(), "micro_batch": 2, "clip_norm": 0.5},
    "nesterov": {"optimizer": tflite_export.SGD(momentum=0.9, nesterov=True), "kernels": "builtin"},
}
SAMPLES, BATCH, EPOCHS = 10, 4, 3
STEPS = 9


@pytest.fixture(scope="module", params=CASES, ids=str)
def exported(request, tmp_path_factory):
    keras.utils.set_random_seed(0)
    image = keras.Input((7, 6, 3))
    x = layers.Conv2D(5, 3, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(4, name="head")(x))
    path = tmp_path_factory.mktemp("exported") / "model.tflite"
    tflite_export.export(model, path, batch_size=BATCH, verify=False, **CASES[request.param])
    return path


def arguments():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(SAMPLES, 7, 6, 3)).astype(np.float32), rng.integers(0, 4, SAMPLES)
    options = {"epochs": EPOCHS, "learning_rate": cosine(0.05), "validation": (x[:3], y[:3]), "restore_best": True}
    return {"x": x, "y": y, **options, "seed": 5, "verbose": False}


def variables(model):
    return model._signatures.save()


def test_after_any_step(exported, tmp_path):
    whole = OnDeviceModel(exported, num_threads=1)
    history = whole.fit(**arguments())
    expected = variables(whole)
    assert any("/m" in name or "/v" in name or "momentum" in name for name in expected)
    for stop in range(1, STEPS + 1):
        model, path = OnDeviceModel(exported, num_threads=1), tmp_path / f"{stop}.safetensors"

        def save_and_stop(_):
            if model.steps == stop:  # noqa: B023
                model.save(path)  # noqa: B023
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            model.fit(**arguments(), after_step=save_and_stop)
        again = OnDeviceModel(exported, path, num_threads=1)
        resumed = again.fit(**arguments(), resume=True)
        found = variables(again)
        assert again.steps == whole.steps and found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"{name} after step {stop}")
        begun = (stop - 1) // 3
        assert resumed == {name: values[begun:] for name, values in history.items()}


def test_what_is_not_the_variables_alone_would_be_noticed(exported, tmp_path):
    """The comparison above can fail: without the optimizer's moments the resumed run ends elsewhere."""
    model = OnDeviceModel(exported, num_threads=1)
    given = {**arguments(), "restore_best": False}
    expected = OnDeviceModel(exported, num_threads=1)
    expected.fit(**given)

    def stop(_):
        if model.steps == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.fit(**given, after_step=stop)
    state = variables(model)
    trained = {entry["name"] for entry in model.info["trainables"]}
    model._signatures.restore({n: v if n in trained else np.zeros_like(v) for n, v in state.items()})
    model.fit(**given, resume=True)
    assert any((variables(model)[name] != variables(expected)[name]).any() for name in trained)
