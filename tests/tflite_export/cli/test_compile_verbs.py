"""The verbs that hand over to a function: convert, export, memory, make-trainable, merge."""

import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
from tests.tflite_export.cli.conftest import NAMES, tinytl
from tests.tflite_export.test_several import LOSSES, network
from tflite_export import flatbuffer
from tflite_export.arena import plan
from tflite_export.cli import export, export_flags, make_trainable, memory
from tflite_export.export_options import ExportOptions
from tflite_export.runtime import OnDeviceModel
from tinytl_keras import memory_report


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, 2, activation="relu", name="conv")(image)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, layers.Dense(3, "softmax", name="head")(x))
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    model.save(path)
    return path


def test_convert_export_and_memory_lead_from_keras_to_a_file_that_trains(keras_file, tmp_path, in_process):
    converted, exported = tmp_path / "converted.keras", tmp_path / "model.tflite"
    status, stdout, stderr = in_process("convert", keras_file, converted, "--method=bias", "--num_classes=4")
    assert status == 0, stderr
    assert "tinytl export" in stdout
    status, stdout, stderr = in_process(
        *("export", converted, exported, "--batch_size=2", "--class_names=red,green", "--optimizer=adam"),
        *("--input_scale=0.5", "--train_from=0.0", "--noverify"),
    )
    assert status == 0, stderr
    assert "not verified" in stdout
    model, original = OnDeviceModel(exported), keras.saving.load_model(converted)
    info = model.info
    assert (info["batch_size"], info["class_names"], info["classes"], info["input_scale"]) == (2, NAMES, 4, 0.5)
    assert info["optimizer"]["name"] == "adam"
    assert {entry["name"] for entry in info["trainables"]} == {v.path for v in original.trainable_variables}
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(model.predict(x)[:, :2], original.predict(x, verbose=0)[:, :2], atol=1e-5)
    status, stdout, stderr = in_process("memory", converted, "--batch_size=2", f"--plot={tmp_path}/memory.png")
    assert status == 0, stderr
    assert (tmp_path / "memory.png").read_bytes()[1:4] == b"PNG"
    assert "conv" in stdout and "head" in stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("convert", "gone.keras", "x.keras"), "there is no file gone.keras"),
        (("convert", "KERAS", "x.h5"), "x.h5 must end in .keras"),
        (("convert", "KERAS", "none/x.keras"), "there is no folder none to write x.keras in"),
        (("convert", "KERAS", "x.keras", "--method=all"), "all"),
        (("export", "KERAS", "none/x.tflite"), "there is no folder none"),
        (("export", "KERAS", "x.tflite", "--micro_batch=2", "--batch_size=3"), "batch_size must be a multiple"),
        (("export", __file__, "x.tflite"), "is not a .keras file"),
    ],
)
def test_what_goes_wrong_is_one_line(keras_file, tmp_path, monkeypatch, in_process, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, _, stderr = in_process(*(str(keras_file) if argument == "KERAS" else argument for argument in arguments))
    assert status == 1 and message in stderr and len(stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [export, make_trainable])
def test_every_option_is_a_flag(verb):
    import inspect

    parameters = set(inspect.signature(getattr(tflite_export, verb.__name__.rpartition(".")[2])).parameters)
    no_flags = {"model", "path", "tflite_path", "loss_weights"}  # one for each output: from Python
    assert parameters - no_flags <= set(verb.FLAGS)


def test_memory_has_every_option_of_a_compiled_step():
    no_flags = {"loss_weights"}
    assert {field.name for field in dataclasses.fields(ExportOptions)} - no_flags <= set(memory.FLAGS)


def test_memory_counts_with_the_options_of_export(tmp_path, in_process):
    """Of hard-swish the exact gradient keeps four bytes per element, the approximated one a single byte."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, activation="hard_swish")(image)
    x = layers.Conv2D(8, 3, activation="hard_swish")(x)
    path = tmp_path / "model.keras"
    keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x))).save(path)
    arenas = {}
    for gradients in ("exact", "one_bit"):
        status, stdout, stderr = in_process("memory", path, f"--activation_gradients={gradients}", "--batch_size=4")
        assert status == 0, stderr
        arenas[gradients] = memory_report(keras.saving.load_model(path), 4, activation_gradients=gradients).arena_bytes
        assert str(memory_report(keras.saving.load_model(path), 4, activation_gradients=gradients)) in stdout
    assert arenas["one_bit"] < arenas["exact"]


def test_only_flags_that_are_given_are_handed_on(in_process, monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(tflite_export, "make_trainable", lambda *a, **k: calls.append((a, k)) or "done", raising=False)
    status, stdout, _ = in_process(
        *("make-trainable", "a.tflite", "b.tflite", "--num_classes=5", "--train_from=0.25", "--memory_budget=8MB"),
        *("--class_names=cup,plant", "--noverify"),
    )
    assert (status, stdout) == (0, "done\n")
    options = {"num_classes": 5, "train_from": 0.25, "memory_budget": "8MB", "class_names": ["cup", "plant"]}
    assert calls == [(("a.tflite", "b.tflite"), {**options, "verify": False})]


def test_merge_takes_the_state_beside_the_model(in_process, monkeypatch, model):
    calls = []
    monkeypatch.setattr(tflite_export, "merge", lambda *a: calls.append(a), raising=False)
    status, _, stderr = in_process("merge", model, "merged.tflite")
    assert status == 1 and "has learned nothing" in stderr
    state = model.with_suffix(".safetensors")
    OnDeviceModel(model).save(state)
    assert in_process("merge", model, "merged.tflite")[0] == 0
    assert calls == [(str(model), state, "merged.tflite")]


def test_merge_and_make_trainable_go_round_without_tensorflow(model, photos, tmp_path):
    """What was learned becomes a plain file, which learns again; every process can import nothing of TensorFlow."""
    merged, again = tmp_path / "merged.tflite", tmp_path / "again.tflite"
    assert tinytl("train", model, photos, "--epochs=1").returncode == 0
    result = tinytl("merge", model, merged)
    assert (result.returncode, result.stderr) == (0, "")
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    learned = OnDeviceModel(model, model.with_suffix(".safetensors")).predict(x)[:, :3]
    interpreter = Interpreter(str(merged))
    assert list(interpreter.get_signature_list()) == ["infer"]
    np.testing.assert_allclose(interpreter.get_signature_runner("infer")(x=x)["output"][:, :3], learned, atol=1e-5)

    result = tinytl("make-trainable", merged, again, "--batch_size=4", "--class_names=red,green,blue", "--method=last")
    assert result.returncode == 0, result.stderr
    assert "numpy" in result.stdout  # what it was verified with
    np.testing.assert_allclose(OnDeviceModel(again).predict(x)[:, :3], learned, atol=1e-5)
    assert tinytl("train", again, photos, "--epochs=1").returncode == 0
    assert tinytl("inspect", again).returncode == 0
    assert tinytl("export", "model.keras", "x.tflite").returncode == 1


@pytest.mark.parametrize("verb", ["merge", "make-trainable", "inspect", "evaluate"])
def test_a_file_that_is_missing_or_damaged_is_one_line(model, photos, tmp_path, in_process, verb):
    OnDeviceModel(model).save(model.with_suffix(".safetensors"))
    operand = {"inspect": (), "evaluate": (photos,)}.get(verb, (tmp_path / "out.tflite",))
    for content in (None, b"", b"no model at all", model.read_bytes()[:-99]):
        model.unlink() if content is None else model.write_bytes(content)
        status, stdout, stderr = in_process(verb, model, *operand)
        assert (status, stdout) == (1, "") and "model.tflite" in stderr.splitlines()[-1]
        assert len(stderr.splitlines()) == 1 and not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize(("text", "value"), [("block_6", "block_6"), ("0.25", 0.25), ("budget", "budget")])
def test_train_from_is_a_name_or_a_fraction(text, value):
    make_trainable.FLAGS.unparse_flags()
    make_trainable.FLAGS(["tinytl", f"--train_from={text}"])
    assert export_flags.given(make_trainable.FLAGS)["train_from"] == value


def test_a_file_for_microcontrollers_is_inspected_with_its_own_planner(keras_file, tmp_path, in_process):
    path = tmp_path / "micro.tflite"
    status, _, stderr = in_process("export", keras_file, path, "--runtime=micro", "--noverify")
    assert status == 0, stderr
    status, stdout, stderr = in_process("inspect", path)
    assert status == 0, stderr
    program = flatbuffer.read(path)
    (line,) = [line for line in stdout.splitlines() if line.startswith("step ")]
    assert line.split()[-1] == f"{plan(program.signatures[0], 'micro', program.offsets).total_bytes:,}"


def test_a_file_of_several_inputs_and_outputs_is_inspected_and_otherwise_refused(tmp_path, photos, in_process):
    path = tmp_path / "several.tflite"
    tflite_export.export(network(), path, batch_size=2, loss=LOSSES, verify=False)
    OnDeviceModel(path).save(path.with_suffix(".safetensors"))
    status, stdout, stderr = in_process("inspect", path)
    assert status == 0, stderr
    info = OnDeviceModel(path).info
    for entry in info["inputs"]:
        assert f"input {entry['name']} " in stdout
    for head in info["heads"]:
        assert f"loss {head['name']} " in stdout
    for verb, operand in (("train", photos), ("evaluate", photos), ("infer", photos / "red" / "0.png")):
        status, stdout, stderr = in_process(verb, path, operand)
        assert (status, stdout) == (1, "") and "tinytl takes models from one image to one class" in stderr
