"""Micro-batches: the step in parts is the step as a whole, in Keras and in the file that takes it at once."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import calibrated, plain_cnn, residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import SGD, Adam, flatbuffer
from tflite_export._export import compile_model
from tflite_export.arena import plan
from tflite_export.compiled_model import CompiledModel
from tflite_export.export_options import ExportOptions
from tflite_export.keras_reference import KerasReference
from tflite_export.verify import VerificationError, verify_export

BATCH, STEPS, RATE = 8, 5, 0.02
REQUEST = np.zeros(1, np.float32)
OPTIMIZERS = {
    "sgd": (SGD(), lambda **options: keras.optimizers.SGD(RATE, **options)),
    "momentum": (SGD(0.9, nesterov=True), lambda **options: keras.optimizers.SGD(RATE, 0.9, True, **options)),
    "adam": (Adam(epsilon=1e-3), lambda **options: keras.optimizers.Adam(RATE, epsilon=1e-3, **options)),
}


@functools.cache
def model_of(method="lite_residual+bias"):
    """With quiet GroupNormalization and smooth activations: nothing that rounding could switch."""
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="tanh", name="stem")(x)
    y = layers.GroupNormalization(2, name="norm")(layers.Conv2D(8, 3, padding="same", name="inner")(x))
    x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(5, name="head")(x)
    return tinytl_keras.convert(calibrated(keras.Model(inputs, outputs)), method)


@functools.cache
def content_of(optimizer="sgd", kernels="xnnpack", method="full", **options) -> bytes:
    options = ExportOptions(optimizer=OPTIMIZERS[optimizer][0], kernels=kernels, **options)
    return compile_model(model_of(method), options).to_bytes()


class File:
    """A file in LiteRT, its signatures as methods."""

    def __init__(self, content: bytes, kernels: str = "xnnpack"):
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
        self.runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}

    def __getattr__(self, name):
        return self.runners[name]

    def state(self) -> dict[str, np.ndarray]:
        return self.save(request=REQUEST)

    def step(self, x, y, rate=RATE) -> int:
        """Takes a step over all of x; returns what `apply` did."""
        rate = np.array([rate], np.float32)
        if "train" in self.runners:
            return 1 if np.isfinite(self.train(x=x, y=y, learning_rate=rate)["loss"]) else 0
        rows = self.accumulate.get_input_details()["x"]["shape"][0]
        for start in range(0, len(x), rows):
            self.accumulate(x=x[start : start + rows], y=y[start : start + rows])
        return int(self.apply(learning_rate=rate)["applied"][0])


def batches(count=STEPS, seed=0):
    """In every second batch three rows do not count, which leaves micro-batches of two with two, one and none."""
    random = np.random.default_rng(seed)
    for step in range(count):
        x = random.normal(size=(BATCH, 12, 12, 3)).astype(np.float32)
        y = random.integers(0, 5, BATCH).astype(np.int32)
        if step % 2:
            y[[0, 1, 4]] = [-1, 5, -1]
        yield x, y


@functools.cache
def keras_updates(method, optimizer, clip_norm=None) -> dict[str, np.ndarray]:
    """What `STEPS` steps over `batches` change, by an independent computation."""
    optimizer = OPTIMIZERS[optimizer][1](global_clipnorm=clip_norm)
    model = keras.models.clone_model(model_of(method))
    model.set_weights(model_of(method).get_weights())
    variables = model.trainable_variables
    before = {v.path: v.numpy() for v in variables}
    optimizer.build(variables)
    for x, y in batches():
        valid = (y >= 0) & (y < 5)
        with tf.GradientTape() as tape:
            logits = model(x[valid], training=False)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y[valid], logits))
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    return {v.path: v.numpy() - before[v.path] for v in variables}


def updates(file: File) -> dict[str, np.ndarray]:
    before = file.state()
    for x, y in batches():
        assert file.step(x, y) == 1
    return {name: value - before[name] for name, value in file.state().items()}


def largest_difference(got, expected, names) -> float:
    return max(np.linalg.norm(got[n] - expected[n]) / np.linalg.norm(expected[n]) for n in names)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", ["full", "lite_residual+bias"])
def test_micro_batches_take_the_step_of_the_whole_batch_and_of_keras(method, optimizer, kernels):
    plain = updates(File(content_of(optimizer, kernels, method, batch_size=BATCH), kernels))
    expected = keras_updates(method, optimizer)
    for micro_batch in (1, 2, BATCH):
        content = content_of(optimizer, kernels, method, batch_size=BATCH, micro_batch=micro_batch)
        got = updates(File(content, kernels))
        assert got.keys() == plain.keys(), "the accumulators are none of what is saved"
        assert largest_difference(got, plain, got) < 1e-4
        assert largest_difference(got, expected, expected) < 1e-4


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("clip_norm", [0.05, 100.0])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_clipping_is_keras_s_global_clipnorm(optimizer, clip_norm, kernels):
    expected = keras_updates("full", optimizer, clip_norm)
    unclipped = keras_updates("full", optimizer)
    assert (largest_difference(expected, unclipped, expected) < 1e-6) == (clip_norm == 100.0)
    for micro_batch in (2, None):
        content = content_of(optimizer, kernels, batch_size=BATCH, micro_batch=micro_batch, clip_norm=clip_norm)
        assert largest_difference(updates(File(content, kernels)), expected, expected) < 1e-4


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_poisoned_micro_batch_refuses_the_whole_step_and_leaves_no_trace(clip_norm, poison, optimizer, kernels):
    content = content_of(optimizer, kernels, batch_size=BATCH, micro_batch=2, clip_norm=clip_norm)
    file, fresh = File(content, kernels), File(content, kernels)
    (first, second), rng = list(batches(2)), np.random.default_rng(1)
    for refused in range(2):
        before = file.state()
        x, y = first
        x = x.copy()
        x[rng.integers(0, BATCH), 3, 4, 1] = poison  # with clean micro-batches before it, behind it, or both
        assert file.step(x, y) == 0
        for name, value in file.state().items():
            np.testing.assert_array_equal(value, before[name], name)
        for each in (file, fresh):
            assert each.step(*(second if refused else first)) == 1
    for name, value in fresh.state().items():
        np.testing.assert_array_equal(file.state()[name], value, name)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_nothing_is_applied_where_no_row_counts(optimizer, kernels):
    file = File(content_of(optimizer, kernels, batch_size=BATCH, micro_batch=2), kernels)
    x, y = next(batches(1))
    file.step(x, y)  # momentum that could move the weights
    before = file.state()
    assert file.apply(learning_rate=np.ones(1, np.float32))["applied"] == 0
    assert file.step(x, np.full_like(y, -1), rate=1.0) == 0
    for name, value in file.state().items():
        np.testing.assert_array_equal(value, before[name], name)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_infinite_gradients_of_finite_predictions_are_refused(kernels):
    """The builtin kernels clamp an infinity, and two of opposite signs cancel: the sum alone would look harmless."""
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1, use_bias=False), layers.Dense(2, use_bias=False)])
    inner, outer = model.weights
    inner.assign([[0.0]])
    outer.assign([[1e32, -1e32]])
    content = compile_model(model, ExportOptions(batch_size=2, micro_batch=1, kernels=kernels)).to_bytes()
    file = File(content, kernels)
    before = file.state()
    x, y = np.array([[1e8], [-1e8]], np.float32), np.zeros(2, np.int32)
    for row in range(2):
        assert np.isfinite(file.accumulate(x=x[row : row + 1], y=y[row : row + 1])["loss"])
    assert file.apply(learning_rate=np.ones(1, np.float32))["applied"] == 0
    for name, value in file.state().items():
        np.testing.assert_array_equal(value, before[name], name)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("poison", [np.nan, np.inf])
def test_a_poisoned_micro_batch_does_not_vanish_where_its_gradients_are_zeros(poison, kernels):
    """A bias's gradient reads no activation, and the gradient that enters at a poisoned prediction is zeros."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, tinytl_keras.layers.Dense(3, frozen=["kernel"], name="head")(layers.ReLU(6.0)(inputs)))
    content = compile_model(model, ExportOptions(batch_size=3, micro_batch=1, kernels=kernels)).to_bytes()
    file = File(content, kernels)
    x, y = np.ones((3, 4), np.float32), np.arange(3, dtype=np.int32)
    x[1, 2] = poison
    assert file.step(x, y) == 0
    (bias,) = file.state().values()
    np.testing.assert_array_equal(bias, np.zeros(3))


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_restore_drops_what_was_accumulated(kernels):
    content = content_of("momentum", kernels, batch_size=BATCH, micro_batch=2)
    file, fresh = File(content, kernels), File(content, kernels)
    x, y = next(batches(1))
    for spoiled in (x[:2], x[:2] * np.float32(np.nan)):
        file.accumulate(x=spoiled, y=y[:2])
        assert file.restore(**fresh.state())["ok"] == 1
        for each in (file, fresh):
            assert each.step(x, y) == 1
        for name, value in fresh.state().items():
            np.testing.assert_array_equal(file.state()[name], value, name)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_the_signatures_are_the_contract_s(kernels):
    program = flatbuffer.read(content_of("adam", kernels, batch_size=BATCH, micro_batch=2, clip_norm=1.0))
    spec = lambda tensors: {name: (t.shape, t.dtype) for name, t in tensors.items()}  # noqa: E731
    graphs = {graph.name: graph for graph in program.signatures}
    assert list(graphs) == ["infer", "accumulate", "apply", "save", "restore", "info"]
    accumulate, apply = graphs["accumulate"], graphs["apply"]
    assert spec(accumulate.inputs) == {"x": ((2, 12, 12, 3), "float32"), "y": ((2,), "int32")}
    assert spec(accumulate.outputs) == {"loss": ((1,), "float32"), "correct": ((1,), "int32")}
    assert spec(apply.inputs) == {"learning_rate": ((1,), "float32")}
    assert spec(apply.outputs) == {"applied": ((1,), "int32")}
    weights = {v.path for v in model_of("full").trainable_variables}
    assert set(graphs["save"].outputs) == set(graphs["restore"].inputs)
    assert set(graphs["save"].outputs) == weights | {f"{w}/{slot}" for w in weights for slot in "mv"} | {"step"}
    info = json.loads(program.metadata["tinytl"])
    assert (info["batch_size"], info["micro_batch"], info["clip_norm"]) == (BATCH, 2, 1.0)
    assert {t["name"] for t in info["trainables"]} == weights


def test_loss_and_correct_are_those_of_the_micro_batch():
    file = File(content_of("sgd", batch_size=BATCH, micro_batch=4))
    x, y = list(batches(2))[1]
    logits = np.asarray(model_of("full")(x[4:], training=False))
    valid = y[4:] >= 0
    expected = keras.losses.sparse_categorical_crossentropy(y[4:][valid], logits[valid], from_logits=True)
    file.accumulate(x=x[:4], y=y[:4])
    got = file.accumulate(x=x[4:], y=y[4:])
    np.testing.assert_allclose(got["loss"], [np.mean(expected)], rtol=1e-5)
    assert got["correct"] == np.sum(logits.argmax(1)[valid] == y[4:][valid])


def test_a_micro_batch_needs_the_memory_of_its_rows_and_the_file_holds_no_zeros():
    model = tinytl_keras.convert(residual_network(33), "lite_residual+bias")
    arenas = {}
    for micro_batch in (None, 1):
        compiled = compile_model(model, ExportOptions(batch_size=BATCH, micro_batch=micro_batch))
        arenas[micro_batch] = sum(plan(graph).total_bytes for graph in compiled.training)
    assert arenas[1] < arenas[None] / 6
    widest = max(v.initial.nbytes for v in compiled.trainables)
    assert widest > 512 and b"\0" * widest not in compiled.to_bytes()


def test_the_report_and_verification_cover_both_signatures(tmp_path):
    options = {"batch_size": 4, "micro_batch": 2, "clip_norm": 0.5}
    report = tflite_export.export(model_of("full"), tmp_path / "x.tflite", **options)
    assert 0 < report.max_difference < 1e-3 and {"accumulate", "apply"} < set(report.ops)
    graphs = flatbuffer.read(tmp_path / "x.tflite").signatures[1:3]
    assert report.train_arena_bytes == sum(plan(graph).total_bytes for graph in graphs)
    assert not any("gradient_sum" in name for name in report.trainable_names)


@functools.cache
def compiled(clip_norm=None) -> CompiledModel:
    return compile_model(model_of("full"), ExportOptions(batch_size=4, micro_batch=2, clip_norm=clip_norm))


def hold(compiled: CompiledModel, name: str, mutate):
    """What verification says of the file whose signature `name` has its operators changed, or dropped, by `mutate`."""
    signatures = tuple(
        graph.replace(ops=tuple(filter(None, map(mutate, graph.ops)))) if graph.name == name else graph
        for graph in compiled.program.signatures
    )
    program = dataclasses.replace(compiled.program, signatures=signatures)
    content = dataclasses.replace(compiled, program=program).to_bytes()
    return verify_export(content, KerasReference(model_of("full"), compiled.description))


class TestMutations:
    """What verification must catch."""

    def test_the_right_file_passes(self):
        assert hold(compiled(), "apply", lambda op: op).max_difference < 1e-3

    @pytest.mark.parametrize("name", ["stem/kernel/gradient_sum", "head/bias/gradient_sum", "accumulated_rows"])
    def test_accumulators_that_are_not_reset(self, name):
        def forget(op):
            reset = op.kind == "ASSIGN_VARIABLE" and op.attributes["variable"].name == name
            return None if reset else op

        with pytest.raises(VerificationError, match="differs from Keras's"):
            hold(compiled(), "apply", forget)

    def test_a_gradient_that_replaces_the_sum(self):
        def overwrite(op):
            if op.kind == "ADD" and op.origin == "head/kernel" and op.outputs[0].size > 1:
                return dataclasses.replace(op, kind="MAXIMUM", attributes={})
            return op

        with pytest.raises(VerificationError, match="differs from Keras's"):
            hold(compiled(), "accumulate", overwrite)

    def test_clipping_that_is_left_out(self):
        def unclipped(op):
            return dataclasses.replace(op, kind="MINIMUM") if op.kind == "MAXIMUM" else op

        with pytest.raises(VerificationError, match="differs from Keras's"):
            hold(compiled(clip_norm=0.05), "apply", unclipped)

    def test_a_refusal_without_reason(self):
        def refuse(op):
            return dataclasses.replace(op, kind="NOT_EQUAL") if op.kind == "EQUAL" else op

        with pytest.raises(VerificationError, match="refused gradients that are finite"):
            hold(compiled(), "apply", refuse)


REFUSED = {
    "no multiple": ({"batch_size": 8, "micro_batch": 3}, "multiple of micro_batch, got batch_size=8 and micro_batch=3"),
    "larger than the batch": ({"micro_batch": 2}, "multiple of micro_batch, got batch_size=1 and micro_batch=2"),
    "micro_batch": ({"micro_batch": 0}, "micro_batch must be a whole number from 1, got 0"),
    "clip_norm": ({"clip_norm": 0.0}, "clip_norm must be a positive, finite number or None, got 0.0"),
    "endless": ({"clip_norm": float("inf")}, "clip_norm must be a positive, finite number"),
    "micro": ({"clip_norm": 1.0, "runtime": "micro"}, "leave micro_batch and clip_norm out, or export with runtime"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_options(case):
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        compile_model(model_of(), ExportOptions(**options))


def test_pooling_and_a_final_softmax_in_micro_batches(tmp_path):
    for model in (plain_cnn(), residual_network()):
        converted = tinytl_keras.convert(model, "full")
        report = tflite_export.export(converted, tmp_path / "x.tflite", batch_size=6, micro_batch=3, optimizer="adam")
        assert report.max_difference < 1e-3
