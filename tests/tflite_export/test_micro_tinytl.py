"""`export(…, runtime="micro", kernels="tinytl")`: our custom operators, run by TFLM's interpreter against Keras."""

import numpy as np
import pytest

import tflite_export
import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export import flatbuffer
from tflite_export.arena import plan
from tflite_export.flatbuffer.checked import checked
from tflite_export.graph import CUSTOM
from tflite_export.micro import host, tflm_wheel
from tflite_export.verify import VerificationError

pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
if host.compiler() is None:
    pytest.skip("no C compiler is installed", allow_module_level=True)
TINYTL = {"runtime": "micro", "kernels": "tinytl"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("tinytl") / "model.tflite"
    model = tinytl_keras.convert(residual_network(), "lite_residual+bias")
    return path, tflite_export.export(model, path, **TINYTL), model


def test_the_file_learns_as_keras_does_with_the_rounded_kernels(exported):
    path, report, _ = exported
    assert report.max_difference < 1e-3 and report.frozen == "int8"
    checked(path.read_bytes())


def test_layers_gradients_and_updates_are_custom_operators(exported):
    _, report, model = exported
    train, infer = report.ops["train"], report.ops["infer"]
    builtin = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}
    assert not builtin & {*train, *infer}
    assert set(CUSTOM) - {"TINYTL_CONV_2D_KERNEL_GRADIENT"} <= set(train)
    assert set(infer) & set(CUSTOM) == {
        "TINYTL_CONV_2D",
        "TINYTL_DEPTHWISE_CONV_2D",
        "TINYTL_CONV_2D_INPUT_GRADIENT",  # the dense head, whose kernel trains in Keras's layout
    }
    updates = sum(count for kind, count in train.items() if kind.endswith("UPDATE"))
    assert updates == len(report.trainable_names) == train["ASSIGN_VARIABLE"] == len(model.trainable_variables)


def test_a_frozen_kernel_is_int8_and_in_the_file_once(exported):
    (entry,) = flatbuffer.read(exported[0]).signatures
    ops = [op for graph in entry.branches for op in graph.ops if op.kind in CUSTOM]
    kernels = [op.inputs[1] for op in ops if "CONV_2D" in op.kind and op.inputs[1].is_constant]
    assert kernels and {kernel.dtype for kernel in kernels} == {"int8"}
    assert exported[0].read_bytes().count(max(kernels, key=lambda k: k.size).data.tobytes()) == 1


def test_it_takes_less_memory_than_builtin_operators(exported, tmp_path):
    path, report, model = exported
    stock = tflite_export.export(model, tmp_path / "stock.tflite", runtime="micro", kernels="builtin", verify=False)
    assert report.train_arena_bytes < stock.train_arena_bytes and report.file_bytes < stock.file_bytes
    assert not {*CUSTOM} & {*stock.ops["train"]}
    program = flatbuffer.read(path)
    assert report.train_arena_bytes == plan(program.signatures[0], "micro", program.offsets).total_bytes


@pytest.mark.parametrize(
    "network, method, optimizer, rows",
    [
        (residual_network, "bias", tflite_export.SGD(momentum=0.9, nesterov=True, weight_decay=0.01), 3),
        (residual_network, "lite_residual", "adam", 1),
        (plain_cnn, "bias", "sgd", 2),
        (plain_cnn, "full", tflite_export.SGD(momentum=0.5), 1),
        (plain_cnn, "last", "adam", 2),
    ],
)
def test_methods_optimisers_and_batches_verify(tmp_path, network, method, optimizer, rows):
    model = tinytl_keras.convert(network(), method)
    options = {"optimizer": optimizer, "batch_size": rows, "infer_batch_size": rows}
    report = tflite_export.export(model, tmp_path / "model.tflite", **TINYTL, **options)
    assert report.max_difference < 1e-2 and not report.undetermined_names


def test_make_trainable_writes_them_too(tmp_path):
    from tflite_export import lowering

    source = tmp_path / "infers.tflite"
    source.write_bytes(lowering.stock_inference_file(residual_network(), 1))
    report = tflite_export.make_trainable(source, tmp_path / "learns.tflite", method="bias", **TINYTL)
    assert report.max_difference < 1e-2 and report.ops["train"]["TINYTL_BIAS_UPDATE"]


def test_a_wrong_kernel_is_found(tmp_path, monkeypatch):
    from tflite_export.passes import tinytl_updates

    right = tinytl_updates.optimizer_attributes
    monkeypatch.setattr(tinytl_updates, "optimizer_attributes", lambda o: {**right(o), "weight_decay": 3.0})
    model = tinytl_keras.convert(residual_network(), "bias")
    with pytest.raises(VerificationError, match="the update of"):
        tflite_export.export(model, tmp_path / "model.tflite", **TINYTL)
    assert not list(tmp_path.iterdir())


def test_without_a_compiler_it_says_how_to_go_on(tmp_path, monkeypatch):
    tflm_wheel.load_operators.cache_clear()
    monkeypatch.setattr(host, "compiler", lambda: None)
    model = tinytl_keras.convert(plain_cnn(), "last")
    path = tmp_path / "model.tflite"
    with pytest.raises(RuntimeError, match="install g\\+\\+, or pass verify=False"):
        tflite_export.export(model, path, **TINYTL)
    report = tflite_export.export(model, path, **TINYTL, verify=False)
    assert report.max_difference is None and "not verified" in str(report)


def test_refusals(tmp_path):
    model = tinytl_keras.convert(plain_cnn(), "last")
    for options, message in (
        ({"runtime": "litert", "kernels": "tinytl"}, "with runtime='litert', got 'tinytl', or export with runtime='mi"),
        ({"runtime": "micro", "kernels": "cmsis"}, "kernels must be one of 'builtin', 'tinytl' with runtime='micro'"),
        ({**TINYTL, "clip_norm": 1.0}, "takes whole steps"),
    ):
        with pytest.raises(ValueError, match=message):
            tflite_export.export(model, tmp_path / "model.tflite", **options)


def test_a_batch_that_is_not_finite_changes_nothing(tmp_path):
    from tflite_export.verify_micro import Twin

    for optimizer in ("sgd", "adam"):
        path = tmp_path / f"{optimizer}.tflite"
        tflite_export.export(
            tinytl_keras.convert(residual_network(), "bias"), path, **TINYTL, optimizer=optimizer, verify=False
        )
        twin = Twin(flatbuffer.read(path).signatures[0])
        before, x = twin.save(), np.full((1, 17, 17, 3), np.nan, np.float32)
        twin.train(x=x, y=np.zeros(1, np.int32), learning_rate=np.full(1, 0.1, np.float32))
        for name, value in twin.save().items():
            np.testing.assert_array_equal(value, before[name], name)
