"""`merge` and `load_into`: what a file learned, against Keras and against the file itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import Counter

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import tflite_export
import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import checksum, flatbuffer, lowering
from tflite_export.arena import plan
from tflite_export.builder import constant, integers
from tflite_export.graph import Op, Tensor
from tflite_export.runtime import OnDeviceModel

CASES = {
    "bias": (residual_network, "bias", {}),
    "lite_residual+bias": (residual_network, "lite_residual+bias", {}),
    "lite_residual+bias, builtin": (residual_network, "lite_residual+bias", {"kernels": "builtin"}),
    "full": (residual_network, "full", {}),
    "full, plain": (plain_cnn, "full", {}),
    "full, Adam in micro-batches": (residual_network, "full", {"optimizer": "adam", "batch_size": 2, "micro_batch": 1}),
    "micro": (residual_network, "lite_residual+bias", {"runtime": "micro"}),
}


@pytest.fixture(scope="module", params=CASES)
def exported(request, tmp_path_factory):
    """(path of the trainable file, Keras model, options)"""
    network, method, options = CASES[request.param]
    keras.utils.set_random_seed(0)
    model = tinytl_keras.convert(network(), method, num_classes=4, branches=None)
    path = tmp_path_factory.mktemp("merge") / "trainable.tflite"
    tflite_export.export(model, path, class_names=["a", "ü"], input_scale=0.5, verify=False, **options)
    return path, model, options


def learned(model, seed=0) -> dict[str, np.ndarray]:
    """Other values for everything that trains, and slots of an optimizer, which belong to nobody here."""
    random = np.random.default_rng(seed)
    state = {
        v.path: (v.numpy() * random.uniform(0.5, 1.5, v.shape) + random.normal(size=v.shape) * 0.05).astype(np.float32)
        for v in model.trainable_variables
    }
    return state | {f"{name}/momentum": np.ones_like(value) for name, value in state.items()}


def output(path, x, kernels, **others):
    """Of the only signature, or of TFLite Micro's entry in LiteRT."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
    return interpreter.get_signature_runner("step" if others else "infer")(x=x, **others)["output"]


def trainable_output(path, model, state, x):
    """What the trainable file infers with `state`: of TFLite Micro's, which cannot restore, a file exported with it."""
    interpreter = Interpreter(str(path), num_threads=1)
    if "step" in interpreter.get_signature_list():
        tflite_export.export(model, path, runtime="micro", verify=False)
        y, rate, mode = np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros(1, np.int32)
        return output(path, x, "builtin", y=y, learning_rate=rate, mode=mode)
    values = interpreter.get_signature_runner("save")(request=np.zeros(1, np.float32))
    values |= {name: value for name, value in state.items() if name in values}
    interpreter.get_signature_runner("restore")(**values)
    return interpreter.get_signature_runner("infer")(x=x)["output"]


def test_keras_and_both_files_agree(exported, tmp_path):
    path, model, _ = exported
    state, merged = learned(model), tmp_path / "merged.tflite"
    x = np.random.default_rng(1).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    before = model(x).numpy()
    tflite_export.merge(path, state, merged)
    tflite_export.load_into(model, state)
    expected = model(x).numpy()
    assert np.abs(expected - before).max() > 1e-3
    for kernels in KERNELS:
        np.testing.assert_allclose(output(merged, x, kernels), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    copy = tmp_path / "trainable.tflite"
    copy.write_bytes(path.read_bytes())
    found = trainable_output(copy, model, state, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_nothing_of_training_is_left(exported, tmp_path):
    path, model, options = exported
    merged = tmp_path / "merged.tflite"
    tflite_export.merge(path, learned(model), merged)
    program = flatbuffer.checked(merged.read_bytes())
    (graph,) = program.signatures
    assert graph.name == "infer" and list(graph.inputs) == ["x"] and list(graph.outputs) == ["output", "logits"]
    assert not program.variables and not program.offsets
    kept = json.loads(program.metadata["tinytl_inference"])
    assert kept["class_names"] == ["a", "ü"] and kept["input_scale"] == 0.5
    stock = lowering.stock_inference_file(model)
    parts = 0 if options.get("kernels", "") + options.get("runtime", "") == "" else 12000  # operators of channel parts
    assert merged.stat().st_size < 1.1 * len(stock) + 2048 + parts  # metadata and the second output
    stock_graph = flatbuffer.read(stock).signatures[0]
    assert plan(graph, "litert").total_bytes <= 1.05 * plan(stock_graph, "litert").total_bytes


@pytest.mark.parametrize(
    ("network", "method"), [(residual_network, "bias"), (residual_network, "full"), (plain_cnn, "full")]
)
def test_the_operators_are_the_stock_converters(network, method, tmp_path):
    model = tinytl_keras.convert(network(), method, num_classes=4)
    tflite_export.export(model, tmp_path / "trainable.tflite", verify=False)
    state = {v.path: v.numpy() for v in model.trainable_variables}
    tflite_export.merge(tmp_path / "trainable.tflite", state, tmp_path / "merged.tflite")
    merged = flatbuffer.read(tmp_path / "merged.tflite").signatures[0]
    stock = flatbuffer.read(lowering.stock_inference_file(model)).signatures[0]
    # Flattening: FULLY_CONNECTED of the stock file takes the image as it is.
    kinds = [Counter(op.kind for op in graph.ops if op.kind != "RESHAPE") for graph in (merged, stock)]
    assert kinds[0] == kinds[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    model = tinytl_keras.convert(plain_cnn(), "bias", num_classes=3)
    path = tmp_path_factory.mktemp("small") / "trainable.tflite"
    tflite_export.export(model, path, class_names=["a"], optimizer="adam", verify=False)
    return path, model


def test_a_saved_state_with_its_new_class(small, tmp_path):
    path, model = small
    on_device = OnDeviceModel(path)
    on_device.add_class("b")
    x, y = np.random.default_rng(0).normal(size=(6, 19, 21, 1)).astype(np.float32), np.array([0, 1, 0, 1, 0, 1])
    on_device.fit(x, y, epochs=1, learning_rate=0.05, verbose=False)
    on_device.save(tmp_path / "state.safetensors")
    tflite_export.merge(path, tmp_path / "state.safetensors", tmp_path / "merged.tflite")
    tflite_export.load_into(model, tmp_path / "state.safetensors")
    expected = on_device.predict(x[:1])
    merged = output(tmp_path / "merged.tflite", x[:1], "xnnpack")
    np.testing.assert_allclose(merged[:, :2], expected[:, :2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x[:1]).numpy(), merged, rtol=1e-5, atol=1e-6)
    metadata = flatbuffer.read(tmp_path / "merged.tflite").metadata
    assert json.loads(metadata["tinytl_inference"])["class_names"] == ["a", "b"]


@pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
def test_another_models_state_is_refused_before_anything_changes(small, tmp_path, change):
    path, model = small
    state = {v.path: v.numpy() + 1 for v in model.trainable_variables}
    name = list(state)[-1]
    value = state.pop(name)
    message = f"missing: {name}"
    if change == "unknown":
        state, message = {**state, name: value, "other/bias": value}, "unknown: other/bias"
    elif change == "shape":
        state, message = {**state, name: value[:1]}, f"{name}: expected"
    before = [v.numpy() for v in model.trainable_variables]
    with pytest.raises(ValueError, match=message):
        tflite_export.merge(path, state, tmp_path / "merged.tflite")
    with pytest.raises(ValueError, match=message) as error:
        tflite_export.load_into(model, state)
    assert "Layers without a name are numbered" in str(error.value)
    assert not (tmp_path / "merged.tflite").exists()
    for old, variable in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_other_frozen_weights_are_refused(small, tmp_path):
    path, model = small
    OnDeviceModel(path).save(tmp_path / "state.safetensors")
    other = tinytl_keras.convert(plain_cnn(), "bias", num_classes=3)
    other.get_layer("first").kernel.assign(other.get_layer("first").kernel * 2)
    for weight, own in zip(other.trainable_variables, model.trainable_variables, strict=True):
        assert weight.path == own.path
    with pytest.raises(ValueError, match="the frozen weights are others"):
        tflite_export.load_into(other, tmp_path / "state.safetensors")
    tflite_export.export(other, tmp_path / "other.tflite", optimizer="adam", verify=False)
    with pytest.raises(ValueError, match="the frozen weights are others"):
        tflite_export.merge(tmp_path / "other.tflite", tmp_path / "state.safetensors", tmp_path / "merged.tflite")


def test_what_it_is_made_of_is_never_overwritten(small, tmp_path):
    path, state = tmp_path / "model.tflite", tmp_path / "state.safetensors"
    path.write_bytes(small[0].read_bytes())
    OnDeviceModel(path).save(state)
    (tmp_path / "link").symlink_to(path)
    before = path.read_bytes(), state.read_bytes()
    for destination in (path, state, tmp_path / "link"):
        with pytest.raises(ValueError, match="would be overwritten, and with it what can go on learning"):
            tflite_export.merge(path, state, destination)
    assert (path.read_bytes(), state.read_bytes()) == before


def test_of_a_damaged_state_the_last_good_one_is_merged(small, tmp_path):
    path, _ = small
    model, state = OnDeviceModel(path), tmp_path / "state.safetensors"
    x, y = np.random.default_rng(0).normal(size=(1, 19, 21, 1)).astype(np.float32), np.array([0])
    for _ in range(2):
        model.save(state, keep=2)
        expected = OnDeviceModel(path, state).predict(x)
        model.train_step(x, y, 0.5)
    model.save(state, keep=2)
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"state.safetensors is truncated.* Taken instead: .*of step 1"):
        tflite_export.merge(path, state, tmp_path / "merged.tflite")
    merged = output(tmp_path / "merged.tflite", x, "xnnpack")
    np.testing.assert_allclose(merged[:, :1], expected[:, :1], rtol=1e-5, atol=1e-6)


def test_other_files_are_refused(small, tmp_path):
    path, model = small
    stock = tmp_path / "stock.tflite"
    stock.write_bytes(lowering.stock_inference_file(model))
    with pytest.raises(ValueError, match="lacks the metadata 'tinytl'"):
        tflite_export.merge(stock, {}, tmp_path / "merged.tflite")
    damaged = bytearray(path.read_bytes())
    kernel = model.get_layer("first").kernel.numpy().transpose(3, 0, 1, 2).tobytes()
    damaged[damaged.index(kernel)] ^= 1
    stock.write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged: its checksum"):
        tflite_export.merge(stock, {}, tmp_path / "merged.tflite")


def test_a_sealed_file_is_checked_before_anything_is_computed(small, tmp_path):
    """The checksum finds damage, not malice: here an operator that would make 16 GB of constants."""
    path, _ = small
    program = flatbuffer.read(path)
    infer, *others = program.signatures
    made = Tensor("made", (4,))
    bomb = Op("TILE", (constant(np.ones(4)), integers([1 << 30])), (made,))
    infer = infer.replace(ops=(bomb, *infer.ops), outputs={**infer.outputs, "made": made})
    program = dataclasses.replace(program, signatures=(infer, *others)).with_metadata(**checksum.METADATA)
    (tmp_path / "bomb.tflite").write_bytes(checksum.seal(flatbuffer.write(program)))
    with pytest.raises(ValueError, match="TILE.*at most"):
        tflite_export.merge(tmp_path / "bomb.tflite", {}, tmp_path / "merged.tflite")
    assert not (tmp_path / "merged.tflite").exists()


def test_a_device_needs_neither_tensorflow_nor_keras(small, tmp_path):
    path, _ = small
    OnDeviceModel(path).save(tmp_path / "state.safetensors")
    code = f"""
import sys
import tflite_export
tflite_export.merge({str(path)!r}, {str(tmp_path / "state.safetensors")!r}, {str(tmp_path / "merged.tflite")!r})
print(sorted({{"tensorflow", "keras", "tf_keras"}} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
    assert (tmp_path / "merged.tflite").exists()


def test_what_was_merged_learns_again(exported, tmp_path):
    path, model, _ = exported
    merged, again = tmp_path / "merged.tflite", tmp_path / "again.tflite"
    tflite_export.merge(path, learned(model), merged)
    report = tflite_export.make_trainable(merged, again)
    assert report.max_difference < 1e-2
    x = np.random.default_rng(1).normal(size=(1, *model.input_shape[1:])).astype(np.float32)
    expected = output(merged, x, "builtin")
    np.testing.assert_allclose(OnDeviceModel(again).predict(x), expected, rtol=1e-4, atol=1e-5)
