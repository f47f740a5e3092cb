"""`make_trainable` from end to end: files in five quantisations learn as Keras does on the weights that they hold."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import calibrated, plain_cnn
from tests.tflite_export.runtimes import KERNELS, relative_difference
from tflite_export import VerificationError, _make_trainable, flatbuffer
from tflite_export.autodiff import RULES
from tflite_export.graph import Op
from tflite_export.runtime import OnDeviceModel

FORMS = ("float32", "float16", "dynamic", "int8", "int8_io")
RATE = 0.1
REQUEST = np.zeros(1, np.float32)


def folded_network(classes: int = 5) -> keras.Model:
    """Inverted residual blocks as a converter leaves them: no normalisation, a bias in every convolution."""
    x = inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6", name="stem")(x)
    for name, stride in (("strided", 2), ("shortcut", 1)):
        y = layers.Conv2D(24, 1, activation="relu6", name=f"{name}_expand")(x)
        y = layers.DepthwiseConv2D(3, stride, padding="same", activation="relu6", name=f"{name}_depthwise")(y)
        y = layers.Conv2D(8, 1, name=f"{name}_project")(y)
        x = layers.Add(name=f"{name}_add")([x, y]) if stride == 1 else y
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(classes, activation="softmax", name="predictions")(x))
    return calibrated(model)


def images(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 16, 16, 3)).astype(np.float32)


def converted(model: keras.Model, form: str, samples: np.ndarray) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form.startswith("int8"):
        converter.representative_dataset = lambda: ([sample[None]] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if form == "int8_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The network's file by form."""
    keras.utils.set_random_seed(0)
    folder, model = tmp_path_factory.mktemp("files"), folded_network()
    paths = {form: folder / f"{form}.tflite" for form in FORMS}
    for form, path in paths.items():
        path.write_bytes(converted(model, form, images(32)))
    return paths


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


def run(path, kernels: str):
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def litert_updates(path, kernels: str, x, y, state=None) -> dict[str, np.ndarray]:
    """The same of the file, from `state` or from its initial values; layers by Keras's names."""
    runners = run(path, kernels)
    if state is not None:
        runners["restore"](**state)
    before = runners["save"](request=REQUEST)
    runners["train"](x=x, y=y, learning_rate=np.array([RATE], np.float32))
    after = runners["save"](request=REQUEST)
    return {keras_name(name): after[name] - before[name] for name in before}


def keras_name(name: str) -> str:
    """Without the number that tracing gives to a layer's scope."""
    layer, _, rest = name.partition("/")
    return f"{layer.removesuffix('_1')}/{rest}"


def assert_same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 1e-3) -> None:
    for name, update in expected.items():
        assert np.linalg.norm(update) > 1e-6, f"{name} does not train"
        difference = np.linalg.norm(got[name].reshape(update.shape) - update) / np.linalg.norm(update)
        assert difference < tolerance, f"the update of {name} differs by {difference:.1e}"


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("form", FORMS)
def test_every_variable_moves_as_in_keras_on_the_files_weights(files, form, batch, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(files[form], path, method="full", batch_size=batch, verify=False)
    x, y = images(batch, seed=2), np.arange(batch, dtype=np.int32)
    expected = keras_updates(model_of(files[form]), x, y)
    assert {keras_name(name) for name in report.trainable_names} == set(expected)
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y), expected)


@pytest.mark.parametrize("shape", ["xnnpack", "builtin"])
@pytest.mark.parametrize("form", FORMS)
def test_biases_and_the_classifier_train_and_frozen_kernels_stay_small(files, form, shape, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(files[form], path, batch_size=2, kernels=shape, verify=False)
    x, y = images(2, seed=3), np.array([1, 4], np.int32)
    expected = keras_updates(model_of(files[form]), x, y)
    expected = {name: update for name, update in expected.items() if "bias" in name or "predictions" in name}
    assert [keras_name(name) for name in report.trainable_names] == list(expected), "in the order of the graph"
    for kernels in KERNELS:
        assert_same(litert_updates(path, kernels, x, y), expected)
    dtype = {"float16": "float16", "int8": "int8", "int8_io": "int8"}.get(form, "float32")
    for graph in flatbuffer.read(path).signatures[:2]:
        kernel = {t for op in graph.ops for t in op.inputs if t is not None and t.is_constant and t.size >= 8 * 24}
        assert {t.dtype for t in kernel} == {dtype}, graph.name


def test_frozen_int8_kernels_keep_their_steps_and_scales(files, tmp_path):
    path = tmp_path / "model.tflite"
    tflite_export.make_trainable(files["int8"], path, method="last", verify=False)  # XNNPACK's form cuts no kernel

    def kernels(program):
        found = {}
        for op in program.signatures[0].ops:
            for t in op.inputs:
                if t is not None and t.is_constant and t.dtype == "int8" and t.size >= 64:
                    found[t.data.tobytes()] = t.quantization.scale
        return found

    original, written = kernels(flatbuffer.read(files["int8"])), kernels(flatbuffer.read(path))
    assert written and set(written) < set(original), "all but the classifier's and what is too small"
    for steps, scales in written.items():
        np.testing.assert_allclose(scales, original[steps], rtol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_verified(files, form, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(files[form], path, batch_size=2, infer_batch_size=3)
    assert report.max_difference < 1e-3 and not report.unmoved_names and "numpy evaluator" in str(report)
    if form in ("int8", "int8_io"):
        assert 1e-3 < report.quantization_difference < 0.2 and "own quantised inference" in str(report)
    elif form != "dynamic":  # whose kernels are too small to be quantised
        assert report.quantization_difference is None
    if form == "float32":
        own = Interpreter(model_path=str(files[form]))
        own.allocate_tensors()
        x, outputs = images(3), []
        for row in x:
            own.set_tensor(own.get_input_details()[0]["index"], row[None])
            own.invoke()
            outputs.append(own.get_tensor(own.get_output_details()[0]["index"])[0])
        for kernels in KERNELS:
            assert relative_difference(run(path, kernels)["infer"](x=x)["output"], outputs) < 1e-5


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_a_new_head_is_keras_dense(files, form, tmp_path):
    path = tmp_path / "model.tflite"
    tflite_export.make_trainable(files[form], path, num_classes=3, batch_size=4, seed=7)
    variables = run(path, "builtin")["save"](request=REQUEST)
    kernel, bias = variables["head/kernel"], variables["head/bias"]
    assert kernel.shape == (8, 3) and not bias.any()
    limit = np.sqrt(6 / (8 + 3))
    assert 0.5 * limit < np.abs(kernel).max() <= limit
    old = model_of(files[form])
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
def test_branches_are_those_of_convert(files, method, tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(files["float32"], path, method=method, batch_size=3, verify=False)
    model = tinytl_keras.convert(model_of(files["float32"]), method)
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


def test_verified_with_branches_and_every_option(files, tmp_path):
    """Slots, accumulation and clipping, held against the numpy evaluator."""
    path = tmp_path / "model.tflite"
    report = tflite_export.make_trainable(
        files["int8"], path, method="lite_residual+bias", num_classes=4, batch_size=4, micro_batch=2, clip_norm=0.5,
        optimizer=tflite_export.Adam(weight_decay=0.01), label_smoothing=0.1, class_names=["a", "b"],
        input_scale=1 / 127.5, input_offset=-1.0, train_from="strided", memory_budget="1MB", kernels="builtin",
    )  # fmt: skip
    assert report.max_difference < 2e-2 and not report.unmoved_names
    assert not any(name.startswith("stem") for name in report.trainable_names)
    info = OnDeviceModel(path).info
    assert info["class_names"] == ["a", "b"] and info["micro_batch"] == 2 and info["output_activation"] == "linear"


@pytest.mark.parametrize("optimizer", ["sgd", tflite_export.SGD(0.9, nesterov=True, weight_decay=0.01)])
def test_verified_with_another_loss(files, optimizer, tmp_path):
    options = {"loss": "binary_crossentropy", "num_classes": 3, "batch_size": 3, "optimizer": optimizer}
    report = tflite_export.make_trainable(files["float32"], tmp_path / "model.tflite", **options)
    assert report.max_difference < 1e-3


@pytest.mark.parametrize("form", ["float32", "int8"])
def test_shapes_that_a_file_computes(form, tmp_path):
    """Flatten is SHAPE, STRIDED_SLICE, PACK and RESHAPE in a file with a dynamic batch; the first bias is zeros."""
    model = plain_cnn()
    model.get_layer("third").bias.assign(np.zeros(10))
    x = np.random.default_rng(0).normal(size=(16, 19, 21, 1)).astype(np.float32)
    (tmp_path / "own.tflite").write_bytes(converted(model, form, x))
    report = tflite_export.make_trainable(tmp_path / "own.tflite", tmp_path / "model.tflite", batch_size=3)
    names = [keras_name(name) for name in report.trainable_names]
    assert {"first/bias", "second/bias", "third/bias", "hidden/bias", "logits/kernel", "logits/bias"} <= set(names)
    assert report.max_difference < 1e-3


def test_train_from_as_far_as_the_budget_allows(files, tmp_path):
    path = tmp_path / "model.tflite"
    everything = tflite_export.make_trainable(files["float32"], path, batch_size=4, verify=False)
    last = tflite_export.make_trainable(files["float32"], path, method="last", batch_size=4, verify=False)
    budget = (everything.train_arena_bytes + last.train_arena_bytes) // 2
    options = {"train_from": "budget", "memory_budget": budget, "kernels": "builtin"}
    report = tflite_export.make_trainable(files["float32"], path, batch_size=4, **options)
    assert report.train_arena_bytes <= budget
    assert set(last.trainable_names) < set(report.trainable_names) <= set(everything.trainable_names)


def test_on_device_model_fits(files, tmp_path):
    path = tmp_path / "model.tflite"
    options = {"num_classes": 2, "batch_size": 8, "infer_batch_size": 8, "optimizer": "adam", "verify": False}
    tflite_export.make_trainable(files["int8"], path, **options)
    x = images(24, seed=6)
    y = (np.arange(24) % 2).astype(np.int32)
    x[y == 1, 4:12] += 1.5
    model = OnDeviceModel(path)
    history = model.fit(x, y, epochs=15, learning_rate=0.02, verbose=False)
    assert model.evaluate(x, y).accuracy > 0.9 and history["skipped_steps"] == [0] * 15
    model.save(tmp_path / "state.safetensors")
    again = OnDeviceModel(path, state=tmp_path / "state.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_no_tensorflow_and_no_keras(files, tmp_path):
    code = (
        "import sys, tflite_export; "
        f"tflite_export.make_trainable({str(files['int8'])!r}, {str(tmp_path / 'model.tflite')!r}, num_classes=3); "
        "found = {'tensorflow', 'keras', 'tf_keras'} & set(sys.modules); "
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert outcome.returncode == 0, outcome.stderr[-2000:]


class TestMutations:
    """What a wrong compiler writes is not handed over."""

    @pytest.mark.parametrize("kind", ["CONV_2D", "ADD", "MEAN"])
    def test_a_wrong_gradient(self, files, kind, tmp_path, monkeypatch):
        right = RULES[kind]

        def wrong(b, op, gradient, wanted):
            return right(b, op, b.scale(gradient, 1.05), wanted)

        monkeypatch.setitem(RULES, kind, wrong)
        with pytest.raises(VerificationError, match="differs from central differences of the loss"):
            tflite_export.make_trainable(files["float32"], tmp_path / "model.tflite", method="full", batch_size=2)
        assert not (tmp_path / "model.tflite").exists()

    @pytest.mark.parametrize("form", ["float32", "float16"])
    def test_a_wrong_forward_pass(self, files, form, tmp_path, monkeypatch):
        right = _make_trainable.rebatched

        def wrong(graph, rows):
            graph = right(graph, rows)
            ops = (Op("RELU", op.inputs, op.outputs) if op.kind == "RELU6" else op for op in graph.ops)
            return graph.replace(ops=tuple(ops))

        monkeypatch.setattr(_make_trainable, "rebatched", wrong)
        options = {"input_scale": 0.1}  # large inputs, which RELU6 cuts off
        with pytest.raises(VerificationError, match="the file's own inference in LiteRT"):
            tflite_export.make_trainable(files[form], tmp_path / "model.tflite", **options)


class TestRefusals:
    def refused(self, source, tmp_path, match, **options):
        with pytest.raises(ValueError, match=match):
            tflite_export.make_trainable(source, tmp_path / "refused.tflite", **options)
        assert not (tmp_path / "refused.tflite").exists()

    def test_options(self, files, tmp_path):
        self.refused(files["float32"], tmp_path, "a .tflite file has none left", method="norm+last")
        self.refused(files["float32"], tmp_path, "method must be one of", method="everything")
        self.refused(files["float32"], tmp_path, "num_classes must be", num_classes=0)
        self.refused(files["float32"], tmp_path, "no layer or block of that name", train_from="nowhere")

    def test_what_is_no_inference_file(self, files, tmp_path):
        (tmp_path / "text.tflite").write_bytes(b"no model at all")
        self.refused(tmp_path / "text.tflite", tmp_path, "not a TFLite file")
        tflite_export.make_trainable(files["float32"], tmp_path / "trains.tflite", method="last", verify=False)
        self.refused(tmp_path / "trains.tflite", tmp_path, "trains already")
        with pytest.raises(FileNotFoundError):
            tflite_export.make_trainable(tmp_path / "none.tflite", tmp_path / "model.tflite")

    def changed(self, files, tmp_path, change):
        model = schema.ModelT.InitFromPackedBuf(files["float32"].read_bytes(), 0)
        change(model)
        builder = __import__("flatbuffers").Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        (tmp_path / "changed.tflite").write_bytes(bytes(builder.Output()))
        return tmp_path / "changed.tflite"

    def test_a_custom_operator(self, files, tmp_path):
        def change(model):
            code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
            code.customCode = "MyOp"

        self.refused(self.changed(files, tmp_path, change), tmp_path, "custom operator")

    def test_an_operator_that_is_not_known(self, files, tmp_path):
        def change(model):
            code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
            code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LSH_PROJECTION

        self.refused(self.changed(files, tmp_path, change), tmp_path, "LSH_PROJECTION, which writes .* is not known")

    def test_several_outputs(self, files, tmp_path):
        def change(model):
            graph = model.subgraphs[0]
            graph.outputs = [*graph.outputs, graph.operators[0].outputs[0]]
            model.signatureDefs = []

        self.refused(self.changed(files, tmp_path, change), tmp_path, "has 2 outputs")

    def test_nothing_to_put_branches_beside(self, tmp_path):
        model = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)])
        (tmp_path / "plain.tflite").write_bytes(converted(model, "float32", images(1)))
        self.refused(tmp_path / "plain.tflite", tmp_path, "no residual", method="lite_residual")


def test_tflite_micro(files, tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    report = tflite_export.make_trainable(files["int8"], tmp_path / "model.tflite", num_classes=3, runtime="micro")
    assert report.max_difference < 1e-3
