"""`make_trainable` from end to end: files in five quantisations learn as Keras does on the weights that they hold."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.inference_files import FORMS, REQUEST, file, folded_network, images, keras_name, run
from tests.tflite_export.runtimes import KERNELS, relative_difference
from tflite_export import flatbuffer
from tflite_export.runtime import OnDeviceModel

RATE = 0.1


def model_of(path) -> keras.Model:
    """The Keras network with the numbers that the weights of a file stand for, told from the raw flatbuffer."""
    raw = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (graph,) = raw.subgraphs
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in raw.operatorCodes]
    made_by = {op.outputs[0]: op for op in graph.operators}

    def numbers(index):
        op = made_by.get(index)
        if op is not None:  # float16 behind DEQUANTIZE
            index = op.inputs[0]
        tensor = graph.tensors[index]
        dtype = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}[tensor.type]
        data = np.array(raw.buffers[tensor.buffer].data, np.uint8).view(dtype).reshape(tensor.shape)
        quantization = tensor.quantization
        if quantization is None or quantization.scale is None or dtype not in (np.int8, np.int32):
            return data.astype(np.float32)
        shape = [1] * data.ndim
        shape[quantization.quantizedDimension] = -1
        scale, zero = (np.asarray(v, np.float64).reshape(shape) for v in (quantization.scale, quantization.zeroPoint))
        return (scale * (data - zero)).astype(np.float32)

    convolution, depthwise, dense = (
        getattr(schema.BuiltinOperator, name) for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
    )
    axes = {convolution: (1, 2, 3, 0), depthwise: (1, 2, 3, 0), dense: (1, 0)}
    weights = []
    for op in graph.operators:
        if kinds[op.opcodeIndex] in axes:
            weights += [numbers(op.inputs[1]).transpose(axes[kinds[op.opcodeIndex]]), numbers(op.inputs[2])]
    model = folded_network()
    model.set_weights(weights)
    return model


def keras_updates(model: keras.Model, x, y) -> dict[str, np.ndarray]:
    """By "<layer>/<weight>", in the layout of the file's operators: what one step of SGD adds."""
    with tf.GradientTape() as tape:
        outputs = model(x, training=False)
        linear = model.layers[-1].activation is keras.activations.linear
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=linear)(y, outputs)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    updates = {}
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        layer, _, weight = variable.path.rpartition("/")
        updates[f"{layer}/{weight}"] = -RATE * file_layout(layer, weight, gradient.numpy())
    return updates


def file_layout(layer: str, weight: str, value: np.ndarray) -> np.ndarray:
    """A Keras weight's value in the layout of the operator; the new head keeps Keras's."""
    if weight != "kernel" or layer == "head":
        return value
    if value.ndim == 2:
        return value.T
    return value.transpose(3, 0, 1, 2)  # of a depthwise kernel the last axis, the multiplier, is 1


def litert_updates(path, kernels: str, x, y, state=None) -> dict[str, np.ndarray]:
    """The same of the file, from `state` or from its initial values; layers by Keras's names."""
    runners = run(path, kernels)
    if state is not None:
        runners["restore"](**state)
    before = runners["save"](request=REQUEST)
    runners["train"](x=x, y=y, learning_rate=np.array([RATE], np.float32))
    after = runners["save"](request=REQUEST)
    return {keras_name(name): after[name] - before[name] for name in before}


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 1e-3) -> None:
    for name, update in expected.items():
        assert np.linalg.norm(update) > 1e-6, f"{name} does not train"
        difference = np.linalg.norm(got[name].reshape(update.shape) - update) / np.linalg.norm(update)
        assert difference < tolerance, f"the update of {name} differs by {difference:.1e}"


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_every_variable_moves_as_in_keras_on_the_files_weights(form, batch, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(file(form), path, method="full", batch_size=batch, verify=False)
    x, y = images(batch, seed=2), np.arange(batch, dtype=np.int32)
    expected = keras_updates(model_of(file(form)), x, y)
    assert {keras_name(name) for name in report.trainable_names} == set(expected)
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y), expected)


@pytest.mark.parametrize("shape", ["xnnpack", "builtin"])
@pytest.mark.parametrize("form", FORMS)
def test_biases_and_the_classifier_train_and_frozen_kernels_stay_small(form, shape, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(file(form), path, batch_size=2, kernels=shape, verify=False)
    x, y = images(2, seed=3), np.array([1, 4], np.int32)
    expected = keras_updates(model_of(file(form)), x, y)
    expected = {name: update for name, update in expected.items() if "bias" in name or "predictions" in name}
    assert [keras_name(name) for name in report.trainable_names] == list(expected), "in the order of the graph"
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y), expected)
    dtype = {"float16": "float16", "int8": "int8", "int8_io": "int8"}.get(form, "float32")
    for graph in flatbuffer.read(path).signatures[:2]:
        kernel = {t for op in graph.ops for t in op.inputs if t is not None and t.is_constant and t.size >= 8 * 24}
        assert {t.dtype for t in kernel} == {dtype}, graph.name


def test_frozen_int8_kernels_keep_their_steps_and_scales(tmp_path):
    path = tmp_path / "model.tflite"
    tflite_export.make_trainable(file("int8"), path, method="last", verify=False)  # XNNPACK's form cuts no kernel

    def kernels(program):
        found = {}
        for op in program.signatures[0].ops:
            for t in op.inputs:
                if t is not None and t.is_constant and t.dtype == "int8" and t.size >= 64:
                    found[t.data.tobytes()] = t.quantization.scale
        return found

    original, written = kernels(flatbuffer.read(file("int8"))), kernels(flatbuffer.read(path))
    assert len(written) == 7 and set(written) == set(original), "the classifier's is too small"
    for steps, scales in written.items():
        np.testing.assert_allclose(scales, original[steps], rtol=1e-6)


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_new_head_is_keras_dense(form, tmp_path):
    path = tmp_path / "model.tflite"
    tflite_export.make_trainable(file(form), path, num_classes=3, batch_size=4, seed=7)
    variables = run(path, "builtin")["save"](request=REQUEST)
    kernel, bias = variables["head/kernel"], variables["head/bias"]
    assert kernel.shape == (8, 3) and not bias.any()
    limit = np.sqrt(6 / (8 + 3))
    assert 0.5 * limit < np.abs(kernel).max() <= limit
    old = model_of(file(form))
    head = layers.Dense(3, name="head")
    model = keras.Model(old.input, head(old.layers[-2].output))
    head.set_weights([kernel, bias])
    x, y = images(4, seed=4), np.array([0, 1, 2, 0], np.int32)
    expected = keras_updates(model, x, y)
    expected = {name: update for name, update in expected.items() if "bias" in name or "head" in name}
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y), expected)
        infer = run(path, kernels)["infer"](x=x[:1])
        np.testing.assert_allclose(infer["output"], model(x[:1]), atol=1e-4)


@pytest.mark.parametrize("method", ["lite_residual", "lite_residual+bias"])
def test_branches_are_those_of_convert(method, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(file("float32"), path, method=method, batch_size=3, verify=False)
    model = tinytl_keras.convert(model_of(file("float32")), method)
    assert report.trainable_bytes == 4 * tinytl_keras.summary(model).trainable_parameters
    x, y = images(3, seed=5), np.array([3, 0, 2], np.int32)
    for kernels in KERNELS:
        difference = relative_difference(run(path, kernels)["infer"](x=x[:1])["output"], model(x[:1]))
        assert difference < 1e-5, "before training, the branches change nothing"

    runners = run(path, "builtin")
    random = np.random.default_rng(0)
    state = runners["save"](request=REQUEST)
    for name in state:  # a gamma of 0 hides the branch's other gradients
        if "norm/" in name:
            state[name] = random.normal(1, 0.3, state[name].shape).astype(np.float32)
    by_path = {keras_name(name): value for name, value in state.items()}
    for variable in model.trainable_variables:
        value = by_path[variable.path]
        if value.ndim == 4:
            value = value.transpose(1, 2, 3, 0)
        elif value.ndim == 2:
            value = value.T
        variable.assign(value)
    expected = keras_updates(model, x, y)
    assert set(expected) == set(by_path)
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y, state), expected)


def test_on_device_model_fits(tmp_path):
    path = tmp_path / "model.tflite"
    options = {"num_classes": 2, "batch_size": 8, "infer_batch_size": 8, "optimizer": "adam", "verify": False}
    tflite_export.make_trainable(file("int8"), path, **options)
    x = images(24, seed=6)
    y = (np.arange(24) % 2).astype(np.int32)
    x[y == 1, 4:12] += 1.5
    model = OnDeviceModel(path)
    history = model.fit(x, y, epochs=15, learning_rate=0.02, verbose=False)
    assert model.evaluate(x, y).accuracy > 0.9 and history["skipped_steps"] == [0] * 15
    model.save(tmp_path / "state.safetensors")
    again = OnDeviceModel(path, state=tmp_path / "state.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_no_tensorflow_and_no_keras(tmp_path):
    code = (
        "import sys, tflite_export; "
        f"tflite_export.make_trainable({str(file('int8'))!r}, {str(tmp_path / 'model.tflite')!r}, num_classes=3); "
        "found = {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules); "
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr[-2000:]
