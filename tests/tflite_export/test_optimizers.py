"""Optimisers in exported files against Keras, over several steps, and the state that they keep."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import SGD, Adam, flatbuffer, optimizers

OPTIMIZERS = [
    SGD(),
    SGD(momentum=0.9),
    SGD(momentum=0.9, nesterov=True),
    SGD(weight_decay=0.1),
    SGD(momentum=0.5, nesterov=True, weight_decay=0.1),
    Adam(),
    Adam(beta_1=0.8, beta_2=0.99, epsilon=1e-3, weight_decay=0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("method", ["last", "full"])
@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_steps_are_keras_steps(optimizer, method, kernels, tmp_path):
    """Verification runs three steps with three rates, one of them with a row that does not count."""
    model = tinytl_keras.convert(residual_network(), method)
    report = tflite_export.export(
        model, tmp_path / "x.tflite", batch_size=2, optimizer=optimizer, kernels=kernels, verify=True
    )
    assert report.max_difference < 1e-3


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9, weight_decay=0.1), Adam(weight_decay=0.1)], ids=str)
@pytest.mark.parametrize("form", ["builtin", "xnnpack"])
@pytest.mark.parametrize("cause", ["a NaN in x", "no valid row"])
def test_a_refused_step_leaves_no_trace(optimizer, form, cause, tmp_path):
    """Neither momentum nor weight decay nor the count of steps moves."""
    model = tinytl_keras.convert(residual_network(), "full")
    tflite_export.export(model, tmp_path / "x.tflite", optimizer=optimizer, kernels=form, verify=False)
    x, rate = np.random.default_rng(0).normal(size=(1, 17, 17, 3)).astype(np.float32), np.array([0.01], np.float32)
    poisoned, y = x.copy(), np.array([2], np.int32)
    if cause == "a NaN in x":
        poisoned[0, 3, 3, 1] = np.nan
    for resolver in KERNELS.values():
        interpreter = Interpreter(model_path=str(tmp_path / "x.tflite"), experimental_op_resolver_type=resolver)
        train, save = (interpreter.get_signature_runner(name) for name in ("train", "save"))
        for refused_first in (True, False):
            if not refused_first:
                train(x=x, y=y, learning_rate=rate)
            before = save(request=np.zeros(1, np.float32))
            train(x=poisoned, y=y if cause == "a NaN in x" else -y, learning_rate=rate)
            for name, value in save(request=np.zeros(1, np.float32)).items():
                np.testing.assert_array_equal(value, before[name], name)


def test_the_file_names_what_the_optimizer_keeps(tmp_path):
    model = tinytl_keras.convert(residual_network(), "last")
    weights = {v.path for v in model.trainable_variables}
    for optimizer, kept in [
        (SGD(0.9), {f"{w}/momentum" for w in weights}),
        (Adam(), {f"{w}/{slot}" for w in weights for slot in "mv"} | {"step"}),
    ]:
        tflite_export.export(model, tmp_path / "x.tflite", optimizer=optimizer, verify=False)
        program = flatbuffer.read(tmp_path / "x.tflite")
        save, restore = program.signatures[2:4]
        assert set(save.outputs) == set(restore.inputs) == weights | kept
        info = json.loads(program.metadata["tinytl"])
        assert {t["name"] for t in info["trainables"]} == weights
        assert info["optimizer"]["name"] == optimizer.name


def test_keras_optimizers_stand_for_ours():
    resolve = optimizers.resolve
    assert resolve("sgd") == resolve(keras.optimizers.SGD(0.3)) == SGD()
    assert resolve(keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.2)) == SGD(0.9, True, 0.2)
    assert resolve("adam") == resolve(keras.optimizers.Adam()) == Adam()
    assert resolve(keras.optimizers.AdamW(weight_decay=0.01)) == Adam(weight_decay=0.01)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SGD(momentum=1.0), r"momentum must lie in \[0, 1\), got 1.0"),
        (lambda: SGD(weight_decay=-1), "weight_decay must not be negative"),
        (lambda: Adam(beta_2=1.0), "beta_2 must lie between 0 and 1"),
        (lambda: Adam(epsilon=0), "epsilon must be positive"),
    ],
)
def test_values_out_of_range(build, message):
    with pytest.raises(ValueError, match=message):
        build()
