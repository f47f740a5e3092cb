"""What a program learned goes to Python and back."""

from __future__ import annotations

import numpy as np
import pytest

import tflite_export
from tests.micro import networks, toolchain
from tflite_export import micro
from tflite_export.runtime import OnDeviceModel

DAMAGED, OTHER_MODEL, NOT_READY = 17, 18, 16  # tinytl/program.h


@pytest.fixture(scope="module", params=["sgd", "adam"])
def made(request, tmp_path_factory):
    """A model, its program, and its LiteRT file."""
    toolchain.host_compiler()
    folder = tmp_path_factory.mktemp("state")
    model = networks.prepared(networks.inverted_residuals(), "lite_residual+bias")
    micro.generate(model, folder, name="net", optimizer=request.param, verify=False)
    tflite_export.export(model, folder / "net.tflite", optimizer=request.param, verify=False)
    return model, folder


def host(folder):
    return micro.HostProgram(folder, "net")


def train(program, model, steps=3):
    for i, x in enumerate(networks.pictures(model, steps)):
        program.train_step(x, i % 5, 0.02)


def test_c_to_python_and_back(made):
    model, folder = made
    program = host(folder)
    train(program, model)
    micro.to_safetensors(folder / "net.json", program.save(), folder / "c.safetensors")
    litert = OnDeviceModel(folder / "net.tflite", state=folder / "c.safetensors")
    x = networks.pictures(model, 1, seed=9)
    np.testing.assert_allclose(litert.predict(x)[0], program.infer(x[0]), rtol=1e-4, atol=1e-4)

    litert.train_step(x, np.array([2], np.int32), 0.02)
    litert.save(folder / "python.safetensors")
    other = host(folder)
    assert other.restore(micro.from_safetensors(folder / "net.json", folder / "python.safetensors")) == 0
    np.testing.assert_allclose(litert.predict(x)[0], other.infer(x[0]), rtol=1e-4, atol=1e-4)
    program.train_step(x[0], 2, 0.02)
    np.testing.assert_allclose(other.infer(x[0]), program.infer(x[0]), rtol=1e-3, atol=1e-3)


def test_bytes_survive_python(made):
    model, folder = made
    program = host(folder)
    train(program, model)
    micro.to_safetensors(folder / "net.json", program.save(), folder / "same.safetensors")
    assert micro.from_safetensors(folder / "net.json", folder / "same.safetensors") == program.save()


def test_into_the_keras_model(made):
    import keras

    model, folder = made
    program = host(folder)
    train(program, model)
    micro.to_safetensors(folder / "net.json", program.save(), folder / "keras.safetensors")
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    tflite_export.load_into(copy, folder / "keras.safetensors")
    x = networks.pictures(model, 1)
    np.testing.assert_allclose(program.infer(x[0]), copy(x, training=False)[0], rtol=1e-4, atol=1e-4)


def test_a_damaged_state_changes_nothing(made):
    model, folder = made
    program = host(folder)
    train(program, model)
    saved = bytearray(program.save())
    program.reset()
    before = program.save()
    for position in (0, 30, 44, 48, len(saved) - 1):
        broken = bytearray(saved)
        broken[position] ^= 4
        assert program.restore(bytes(broken)) in (DAMAGED, OTHER_MODEL), position
        assert program.save() == before
    with pytest.raises(ValueError, match="damaged"):
        micro.to_safetensors(folder / "net.json", bytes(saved[:-1]) + bytes([saved[-1] ^ 1]), folder / "x.safetensors")


def test_another_model_s_state_is_refused(made, tmp_path):
    _, folder = made
    stranger = networks.prepared(networks.inverted_residuals(), "lite_residual+bias", seed=7)
    micro.generate(stranger, tmp_path, name="net", optimizer="sgd", verify=False)
    program, other = host(folder), host(tmp_path)
    before = program.save()
    assert program.restore(other.save().ljust(len(before), b"\0")[: len(before)]) == OTHER_MODEL
    assert program.save() == before
    micro.to_safetensors(tmp_path / "net.json", other.save(), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="another model"):
        micro.from_safetensors(folder / "net.json", tmp_path / "other.safetensors")


def test_nothing_runs_before_reset(made):
    model, folder = made
    program = micro.HostProgram(folder, "net", reset=False)
    with pytest.raises(RuntimeError, match=f"status {NOT_READY}"):
        program.infer(networks.pictures(model, 1)[0])
