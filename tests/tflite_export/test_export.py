"""`export` from end to end: what is in the file, and what is refused."""

import contextlib
import json
import os
import resource

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import flatbuffer
from tflite_export.arena import plan


@pytest.fixture(scope="module", params=["xnnpack", "builtin"])
def exported(request, tmp_path_factory):
    """(path, report, Keras model, kernels)"""
    path = tmp_path_factory.mktemp("export") / "model.tflite"
    model = tinytl_keras.convert(residual_network(), "bias")
    report = tflite_export.export(
        model,
        path,
        batch_size=3,
        infer_batch_size=2,
        kernels=request.param,
        class_names=["a", "b", "ü"],
        input_scale=1 / 127.5,
        input_offset=-1.0,
    )
    return path, report, model, request.param


def plain_cnn_last():
    return tinytl_keras.convert(plain_cnn(), "last")


def test_subgraph_0_is_infer_and_the_signatures_are_the_contracts(exported):
    path, _, model, _ = exported
    program = flatbuffer.read(path)
    assert [graph.name for graph in program.signatures] == ["infer", "train", "save", "restore", "info"]
    infer, train, save, restore, info = program.signatures
    spec = lambda tensors: {name: (t.shape, t.dtype) for name, t in tensors.items()}  # noqa: E731
    variables = {v.path: (tuple(v.shape), "float32") for v in model.trainable_variables}
    assert spec(infer.inputs) == {"x": ((2, 17, 17, 3), "float32")}
    assert spec(infer.outputs) == {"output": ((2, 5), "float32"), "logits": ((2, 5), "float32")}
    assert spec(train.inputs) == {
        "x": ((3, 17, 17, 3), "float32"),
        "y": ((3,), "int32"),
        "learning_rate": ((1,), "float32"),
    }
    assert spec(train.outputs) == {"loss": ((1,), "float32"), "correct": ((1,), "int32")}
    assert spec(save.inputs) == {"request": ((1,), "float32")} and spec(save.outputs) == variables
    assert spec(restore.inputs) == variables and spec(restore.outputs) == {"ok": ((1,), "float32")}
    assert spec(info.inputs) == {"request": ((1,), "float32")} and info.outputs["json"].dtype == "uint8"


def test_only_builtin_operators_and_call_once_first(exported):
    path, *_ = exported
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    assert schema.BuiltinOperator.CUSTOM not in kinds and all(code.customCode is None for code in model.operatorCodes)
    signature_graphs = [model.subgraphs[s.subgraphIndex] for s in model.signatureDefs]
    init = {g.operators[0].builtinOptions.initSubgraphIndex for g in signature_graphs}
    assert {kinds[g.operators[0].opcodeIndex] for g in signature_graphs} == {schema.BuiltinOperator.CALL_ONCE}
    assert len(init) == 1, "one shared initialisation"
    for signature in model.signatureDefs:  # Android's runSignature wants at least one of each
        assert signature.inputs and signature.outputs


def test_a_legacy_run_infers_and_never_trains(exported):
    path, _, model, _ = exported
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    x = np.random.default_rng(0).normal(size=(2, 17, 17, 3)).astype(np.float32)
    (input_,) = interpreter.get_input_details()
    for _ in range(3):
        interpreter.set_tensor(input_["index"], x)
        interpreter.invoke()
    outputs = [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]
    expected = np.asarray(model(x, training=False))
    assert any(np.allclose(output, expected, atol=1e-5) for output in outputs)


def test_info_and_metadata_tell_what_a_phone_needs(exported):
    path, _, model, _ = exported
    runner = Interpreter(model_path=str(path)).get_signature_runner("info")
    text = runner(request=np.zeros(1, np.float32))["json"].tobytes()
    assert flatbuffer.read(path).metadata["tinytl"] == text
    info = json.loads(text)
    assert info["class_names"] == ["a", "b", "ü"] and info["classes"] == 5
    assert (info["input_scale"], info["input_offset"]) == (1 / 127.5, -1.0)
    assert info["output_activation"] == "softmax" and info["optimizer"]["name"] == "sgd"
    assert [t["name"] for t in info["trainables"]] == [v.path for v in model.trainable_variables]


@pytest.mark.parametrize("signature", ["restore", "save", "infer"])
def test_the_first_call_of_another_signature_keeps_what_restore_brought(exported, signature):
    path, _, model, _ = exported
    for resolver in KERNELS.values():
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=resolver)
        runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
        state = {v.path: np.full(v.shape, 0.125, np.float32) for v in model.trainable_variables}
        assert runners["restore"](**state)["ok"] == 1
        x = np.zeros((3, 17, 17, 3), np.float32)
        if signature == "infer":
            runners["infer"](x=x[:2])
        rate = np.zeros(1, np.float32)
        runners["train"](x=x, y=np.zeros(3, np.int32), learning_rate=rate)  # CALL_ONCE must not run again
        for name, value in runners["save"](request=np.zeros(1, np.float32)).items():
            np.testing.assert_array_equal(value, 0.125, name)


def test_the_report_tells_the_truth(exported):
    path, report, model, kernels = exported
    assert report.file_bytes == path.stat().st_size and report.path == path
    assert list(report.trainable_names) == [v.path for v in model.trainable_variables]
    assert report.trainable_bytes == 4 * sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    train = flatbuffer.read(path).signatures[1]
    assert report.train_arena_bytes == plan(train).total_bytes
    kernels_trained = sum(len(v.shape) > 1 for v in model.trainable_variables)  # the vectors are one for "builtin"
    assigned = kernels_trained + 1 if kernels == "builtin" else len(report.trainable_names)
    assert report.ops["train"]["ASSIGN_VARIABLE"] == assigned
    assert 0 < report.max_difference < 1e-3
    assert "x inference" in str(report) and max(map(len, str(report).splitlines())) <= 120
    if kernels == "xnnpack":
        outside = {kind: report.ops["train"].get(kind, 0) for kind in ("SELECT", "SELECT_V2", "GREATER", "LESS")}
        assert outside == {"SELECT": 0, "SELECT_V2": 1, "GREATER": 1, "LESS": 1}  # of the input
    else:
        assert "QUANTIZE" not in report.ops["train"]


def test_a_wrong_file_is_never_left(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"what was there before")
    with _file_size_limit(5_000), pytest.raises(OSError):
        tflite_export.export(tinytl_keras.convert(residual_network(), "last"), path, verify=False)
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


@contextlib.contextmanager
def _file_size_limit(size):
    """What a full disk does: the write stops in the middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError):
        tflite_export.export(plain_cnn_last(), tmp_path / "missing" / "model.tflite")


def test_the_model_is_not_changed(tmp_path):
    model = tinytl_keras.convert(residual_network(), "bias")
    before = [w.numpy().copy() for w in model.weights]
    tflite_export.export(model, tmp_path / "model.tflite")
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value, weight.path)


def test_equal_exports_are_equal_files(tmp_path):
    model = tinytl_keras.convert(residual_network(), "bias")
    contents = []
    for name in ("a", "b"):
        tflite_export.export(model, tmp_path / name, verify=False)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_a_state_fits_every_file_of_the_same_model_and_no_other(tmp_path):
    def fingerprint(model, **options):
        tflite_export.export(model, tmp_path / "x.tflite", verify=False, **options)
        return json.loads(flatbuffer.read(tmp_path / "x.tflite").metadata["tinytl"])["fingerprint"]

    model = tinytl_keras.convert(residual_network(), "last")
    first = fingerprint(model)
    assert first == fingerprint(model, kernels="builtin", batch_size=4)
    model.trainable_variables[0].assign_add(np.ones(model.trainable_variables[0].shape))
    assert first == fingerprint(model), "what trains is no part of it"
    stem = model.get_layer("stem")
    stem.kernel.assign(stem.kernel * 1.001)
    assert first != fingerprint(model)


REFUSED = {
    "batch_size": ({"batch_size": 0}, "batch_size must be a whole number from 1, got 0"),
    "infer_batch_size": ({"infer_batch_size": 1.5}, "infer_batch_size must be a whole number"),
    "kernels": ({"kernels": "gpu"}, "kernels must be one of 'xnnpack', 'builtin' with runtime='litert', got 'gpu'"),
    "optimizer": ({"optimizer": "lion"}, "optimizer 'lion' is not supported; use 'sgd', 'adam'"),
    "keras RMSprop": ({"optimizer": keras.optimizers.RMSprop()}, "is not supported; use"),
    "amsgrad": ({"optimizer": keras.optimizers.Adam(amsgrad=True)}, "'amsgrad': True"),
    "keras clipnorm": ({"optimizer": keras.optimizers.SGD(clipnorm=1.0)}, "'clipnorm': 1.0"),
    "keras global_clipnorm": (
        {"optimizer": keras.optimizers.SGD(global_clipnorm=1.0)},
        "Clip by export.…, clip_norm=….",
    ),
    "train_from": ({"train_from": "hiden"}, "no layer or block of that name; similar names are 'hidden'"),
    "loss": ({"loss": "hinge"}, "loss 'hinge' is not supported; use one of"),
    "keras loss": ({"loss": keras.losses.Poisson()}, "loss 'poisson' is not supported"),
    "from_logits": (
        {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=False)},
        r"from_logits=False\) does not fit a model that ends in a linear layer",
    ),
    "reduction": (
        {"loss": keras.losses.CategoricalCrossentropy(from_logits=True, reduction="sum")},
        "'reduction': 'sum'",
    ),
    "smoothing of an error": (
        {"loss": "mean_squared_error", "label_smoothing": 0.1},
        "no meaning for 'mean_squared_error'",
    ),
    "no name": ({"class_names": []}, "a list of one or more names"),
    "names in a string": ({"class_names": "abcd"}, "class_names must be a list of one or more names, got 'abcd'"),
    "scale": ({"input_scale": 0}, "the scale not 0"),
    "offset": ({"input_offset": float("nan")}, "must be finite"),
    "label_smoothing": ({"label_smoothing": 1.0}, "label_smoothing must lie in"),
    "too many names": ({"class_names": list("abcdef")}, "6 names for a model with 5 outputs"),
    "one name twice": ({"class_names": ["a", "b", "a"]}, "got 'a' twice"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_options(case, tmp_path):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        tflite_export.export(plain_cnn_last(), tmp_path / "x.tflite", **options)
    assert os.listdir(tmp_path) == []


def _two_inputs_one_with_a_taken_name():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="learning_rate")
    return keras.Model([a, b], layers.Dense(2)(layers.Concatenate()([a, b])))


class _OwnCall(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x)


def _called():
    model = _OwnCall()
    model(np.zeros((1, 4), np.float32))
    return model


def _half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return plain_cnn()
    finally:
        keras.config.set_dtype_policy("float32")


def _frozen(model):
    model.trainable = False
    return model


MODELS = {
    "frozen": (lambda: _frozen(plain_cnn()), ValueError, "no trainable weights; convert it first"),
    "unbuilt": (lambda: keras.Sequential([layers.Dense(2)]), ValueError, "is not built"),
    "not a model": (lambda: layers.Dense(2), TypeError, "export takes a keras.Model, got Dense"),
    "its own call": (_called, ValueError, r"'own' \(_OwnCall\) defines its own call.*keras.Input\(\(4,\)\)"),
    "a taken name": (_two_inputs_one_with_a_taken_name, ValueError, "'learning_rate' is a name of the exported"),
    "no fixed size": (
        lambda: keras.Sequential(
            [keras.Input((None, None, 3)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), layers.Dense(2)]
        ),
        ValueError,
        "build the model with a fixed size",
    ),
    "booleans as input": (
        lambda: keras.Sequential([keras.Input((4,), dtype="bool"), layers.Rescaling(1.0), layers.Dense(2)]),
        ValueError,
        "is bool; export takes inputs of float32, int32, int64, uint8, int8",
    ),
    "half precision": (_half_precision, ValueError, "computes in float16; export takes float32 models"),
    "regularizer": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2, kernel_regularizer="l1", name="head")]),
        ValueError,
        "head/kernel' has a regularizer, which the exported step would not apply: L1",
    ),
    "activity regularizer": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2, activity_regularizer="l2", name="head")]),
        ValueError,
        "layer 'head' has an activity_regularizer",
    ),
    "one class": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)]),
        ValueError,
        "of a single output is always 0",
    ),
    "sigmoid": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="sigmoid")]),
        ValueError,
        "does not fit a model that ends in a sigmoid",
    ),
    "a number as output": (
        lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1), layers.Reshape(())]),
        ValueError,
        r"loss 'sparse_categorical_crossentropy' of a single output",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_refused_models(case, tmp_path):
    build, error, message = MODELS[case]
    with pytest.raises(error, match=message):
        tflite_export.export(build(), tmp_path / "x.tflite")


def test_a_keras_2_model_is_told_how_to_move(tmp_path):
    tf_keras = pytest.importorskip("tf_keras", reason="tf-keras is not installed")
    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(3,))])
    with pytest.raises(TypeError, match="tf_keras .* load it with keras.models.load_model"):
        tflite_export.export(model, tmp_path / "x.tflite")


def test_keras_names_are_accepted(tmp_path):
    report = tflite_export.export(
        plain_cnn_last(),
        tmp_path / "x.tflite",
        optimizer=keras.optimizers.SGD(0.1),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    assert report.max_difference < 1e-3


@pytest.mark.parametrize(
    ("activation", "loss"), [("softmax", "sparse_categorical_crossentropy"), ("sigmoid", "binary_crossentropy")]
)
def test_outputs_that_saturate_have_the_loss_of_their_logits(activation, loss, tmp_path):
    """Keras's loss of probabilities ends at 16, -log(1e-7), but not where it finds the logits."""
    keras.utils.set_random_seed(0)
    far = layers.Rescaling(1e3)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="hidden"), far, layers.Dense(3, activation)])
    tflite_export.export(tinytl_keras.convert(model, "bias"), tmp_path / "model.tflite", batch_size=4, loss=loss)


@pytest.mark.parametrize("method", ["bias", "full"])
@pytest.mark.parametrize("kernels", ["xnnpack", "builtin"])
def test_a_group_for_each_channel_takes_no_operators_for_each(kernels, method, tmp_path):
    """As in ConvNeXt; `export` holds the file against Keras."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(24, 3, strides=2, activation="relu")(image)
    x = keras.layers.Conv2D(24, 3, padding="same", groups=24, name="depthwise")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = tinytl_keras.convert(keras.Model(image, keras.layers.Dense(4, "softmax")(x)), method)
    report = tflite_export.export(model, tmp_path / "model.tflite", kernels=kernels)
    assert sum(report.ops["train"].values()) < 300
