"""`export` for TFLite Micro: one entry that infers and trains, held against LiteRT and against TFLM's own figures."""

import json
import re

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import calibrated, plain_cnn, residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import flatbuffer, verify_micro
from tflite_export.arena import plan
from tflite_export.graph import Program
from tflite_export.micro_program import INFER, TRAIN
from tflite_export.passes.legalise_micro import OPERATORS
from tflite_export.verify import update_difference
from tflite_export.verify_micro import MicroEntry, Twin

pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
STEPS = 5


def mobilenet():
    """With quiet residual branches, as in a trained network: a random one blows up what kernels round differently."""
    keras.utils.set_random_seed(0)
    model = calibrated(keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=5))
    for weight in model.weights:
        if weight.path.endswith("project_BN/gamma"):
            weight.assign(weight * 0.3)
    return model


MODELS = {
    ("mobilenet", "last"): mobilenet,
    ("mobilenet", "bias"): mobilenet,
    ("residual_network", "lite_residual+bias"): residual_network,
    ("residual_network", "full"): residual_network,
}


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def exported(request, tmp_path_factory):
    """(path, report, Keras model)"""
    path = tmp_path_factory.mktemp("micro") / "model.tflite"
    model = tinytl_keras.convert(MODELS[request.param](), request.param[1])
    return path, tflite_export.export(model, path, runtime="micro", class_names=["a", "ü"]), model


def entry_of(path):
    return flatbuffer.read(path).signatures[0]


def batch(model, seed, size=1):
    random = np.random.default_rng(seed)
    x = random.normal(size=(size, *model.inputs[0].shape[1:])).astype(np.float32)
    return {"x": x, "y": random.integers(0, 5, size).astype(np.int32), "learning_rate": np.full(1, 0.01, np.float32)}


def test_one_entry_that_reaches_every_subgraph(exported):
    path, _, model = exported
    program = flatbuffer.read(path)
    (entry,) = program.signatures
    size = model.inputs[0].shape[1]
    spec = lambda tensors: {name: (t.shape, t.dtype) for name, t in tensors.items()}  # noqa: E731
    one = ((1,), "float32")
    assert entry.name == "step"
    assert list(spec(entry.inputs).items()) == [
        *(("x", ((1, size, size, 3), "float32")), ("y", ((1,), "int32"))),
        *(("learning_rate", one), ("mode", ((1,), "int32"))),
    ]
    assert list(spec(entry.outputs).items()) == [
        *(("output", ((1, 5), "float32")), ("logits", ((1, 5), "float32"))),
        *(("loss", one), ("correct", ((1,), "int32"))),
    ]
    assert [branch.name for branch in entry.branches] == ["train", "infer"]
    assert {v.name for v in entry.variables} == {v.path for v in model.trainable_variables}
    assert json.loads(program.metadata["tinytl"])["class_names"] == ["a", "ü"]

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kinds = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    called = [
        (index, op.builtinOptions.initSubgraphIndex)
        for index, subgraph in enumerate(model.subgraphs)
        for op in subgraph.operators
        if kinds[op.opcodeIndex] == schema.BuiltinOperator.CALL_ONCE
    ]
    assert called == [(0, 3)] and len(model.subgraphs) == 4


def test_only_operators_of_tflm_and_one_handle_for_each_variable_in_a_branch(exported):
    path, report, model = exported
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    file = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    kinds = [names[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in file.operatorCodes]
    assert set(kinds) <= OPERATORS | {"CALL_ONCE", "VAR_HANDLE"}
    handles = [[kinds[op.opcodeIndex] for op in sub.operators].count("VAR_HANDLE") for sub in file.subgraphs]
    trained = len(model.trainable_variables)
    assert handles[0] == 0 and handles[1] == trained and handles[2] <= trained and handles[3] == trained
    assert set(report.ops) == {"step", "train", "infer"} and report.ops["step"] == {"EQUAL": 1, "IF": 1}
    for op in (op for branch in entry_of(path).branches for op in branch.ops if op.kind == "BATCH_MATMUL"):
        assert op.attributes["adj_y"] and not op.attributes["adj_x"], "TFLM would keep a transposed copy"


def test_losses_and_weights_are_litert_s(exported, tmp_path):
    path, report, model = exported
    assert report.max_difference < 1e-2
    tflite_export.export(model, tmp_path / "litert.tflite", kernels="builtin", verify=False)
    litert = Interpreter(
        model_path=str(tmp_path / "litert.tflite"), experimental_op_resolver_type=KERNELS["builtin"], num_threads=1
    )
    train, save, infer = (litert.get_signature_runner(name) for name in ("train", "save", "infer"))
    entry = entry_of(path)
    micro, twin = MicroEntry(path.read_bytes(), entry), Twin(entry)
    before = twin.save()
    for step in range(STEPS):
        inputs = batch(model, step)
        got, same, expected = micro.run(TRAIN, **inputs), twin.train(**inputs), train(**inputs)
        np.testing.assert_allclose(got["loss"], expected["loss"], rtol=1e-5, atol=1e-5)
        assert got["correct"] == expected["correct"]
        for name, value in got.items():
            np.testing.assert_array_equal(value, same[name], f"{name}: the file and its twin")
    after = twin.save()
    for name, value in save(request=np.zeros(1, np.float32)).items():
        assert update_difference(before[name], after[name], value) < 1e-3, name
    inferred, expected = micro.run(INFER, x=inputs["x"]), infer(x=inputs["x"])
    for name in ("output", "logits"):
        np.testing.assert_allclose(inferred[name], expected[name], rtol=1e-4, atol=1e-5)


def test_inference_answers_keras_s_output_and_changes_nothing(exported):
    path, _, model = exported
    twin = Twin(entry_of(path))
    before = twin.save()
    inputs = batch(model, 0)
    for _ in range(3):
        outputs = twin.runner.run(INFER, **inputs)
        np.testing.assert_allclose(outputs["output"], model(inputs["x"], training=False), rtol=1e-4, atol=1e-5)
        assert outputs["loss"] == 0 and outputs["correct"] == 0
    assert np.all(twin.runner.run(2, **inputs)["loss"] == 0), "mode 1 alone trains"
    for name, value in twin.save().items():
        np.testing.assert_array_equal(value, before[name], name)
    twin.train(**inputs)
    assert any(np.any(value != before[name]) for name, value in twin.save().items())


@pytest.mark.parametrize("broken", ["label", "nan", "infinity"])
def test_a_step_that_must_leave_no_trace(exported, broken):
    path, _, model = exported
    twin, inputs = Twin(entry_of(path)), batch(model, 0)
    before = twin.save()
    if broken == "label":
        inputs["y"][:] = -1
    else:
        inputs["x"][0, 1, 2, 0] = {"nan": np.nan, "infinity": np.inf}[broken]
    loss = twin.train(**inputs)["loss"]
    assert loss == 0 if broken == "label" else np.isnan(loss)
    for name, value in twin.save().items():
        np.testing.assert_array_equal(value, before[name], name)


def arena_head(content, capfd) -> int:
    """Bytes of activations, as TFLM itself tells them."""
    interpreter = verify_micro.micro_wheel().Interpreter.from_bytes(content, arena_size=1 << 27)
    interpreter.invoke()
    capfd.readouterr()
    interpreter.print_allocations()
    (head,) = re.findall(r"Arena allocation head (\d+) bytes", "".join(capfd.readouterr()))
    return int(head)


def test_arena_bytes_are_tflm_s(exported, capfd):
    path, report, _ = exported
    program = flatbuffer.read(path)
    (entry,) = program.signatures
    assert report.train_arena_bytes == arena_head(path.read_bytes(), capfd)
    assert report.train_arena_bytes == plan(entry, "micro", program.offsets).total_bytes
    own = flatbuffer.write(Program((entry,)))  # planned by TFLM alone
    assert plan(entry, "micro").total_bytes == arena_head(own, capfd) > report.train_arena_bytes
    stock = flatbuffer.write(Program((flatbuffer.read(stock_file(exported)).signatures[0],)))
    assert report.infer_arena_bytes == arena_head(stock, capfd)


def stock_file(exported):
    from tflite_export import lowering

    return lowering.stock_inference_file(exported[2], 1)


def test_the_file_also_runs_in_litert(exported):
    path, _, model = exported
    runner = Interpreter(
        model_path=str(path), experimental_op_resolver_type=KERNELS["builtin"], num_threads=1
    ).get_signature_runner("step")
    micro = MicroEntry(path.read_bytes(), entry_of(path))
    for step, mode in enumerate((TRAIN, INFER, TRAIN)):
        inputs = batch(model, step)
        got, expected = micro.run(mode, **inputs), runner(**inputs, mode=np.array([mode], np.int32))
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "optimizer, loss",
    [
        (tflite_export.SGD(momentum=0.9, nesterov=True), "categorical_crossentropy"),
        ("adam", "binary_crossentropy"),
        ("sgd", "mean_squared_error"),
    ],
)
def test_optimisers_losses_and_larger_batches_verify(tmp_path, optimizer, loss):
    model = tinytl_keras.convert(plain_cnn(), "bias")
    options = {"optimizer": optimizer, "loss": loss, "batch_size": 3, "infer_batch_size": 3}
    report = tflite_export.export(model, tmp_path / "model.tflite", runtime="micro", **options)
    assert report.max_difference < 1e-2


class TestRefusals:
    def refused(self, tmp_path, error, match, model=None, **options):
        model = model or tinytl_keras.convert(plain_cnn(), "last")
        with pytest.raises(error, match=match):
            tflite_export.export(model, tmp_path / "model.tflite", **{"runtime": "micro", **options})
        assert not list(tmp_path.iterdir())

    def test_options(self, tmp_path):
        self.refused(tmp_path, ValueError, "runtime must be one of 'litert', 'micro', got 'tflm'", runtime="tflm")
        message = "one of 'builtin', 'tinytl' with runtime='micro', got 'xnnpack', or export with runtime='litert'"
        self.refused(tmp_path, ValueError, message, kernels="xnnpack")
        self.refused(
            tmp_path, ValueError, "got batch_size=2 and infer_batch_size=1: pass infer_batch_size=2", batch_size=2
        )

    def test_an_operator_that_tflm_does_not_have(self, tmp_path):
        model = keras.Sequential(
            [keras.Input((8,)), layers.Dense(4, activation="gelu", name="hidden"), layers.Dense(3, name="logits")]
        )
        model = tinytl_keras.convert(model, "last")
        self.refused(tmp_path, ValueError, "layer 'hidden': TFLite Micro has no operator GELU; replace", model)

    def test_no_wheel(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "tflite_micro", None)
        self.refused(tmp_path, ImportError, r'pip install "tinytl-keras\[micro\]", or pass verify=False')
        model = tinytl_keras.convert(plain_cnn(), "last")
        report = tflite_export.export(model, tmp_path / "model.tflite", runtime="micro", verify=False)
        assert report.max_difference is None and (tmp_path / "model.tflite").is_file()
