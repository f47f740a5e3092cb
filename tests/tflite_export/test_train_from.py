"""`train_from`: which variables are left to train, and that they train as in Keras with the rest frozen."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tests.tflite_export.runtimes import KERNELS
from tflite_export import flatbuffer, lowering
from tflite_export._export import compile_model
from tflite_export.arena import plan
from tflite_export.export_options import ExportOptions
from tflite_export.memory_budget import BudgetTooSmall
from tflite_export.train_from import trained_from

# Of `residual_network` with method "bias", in forward order:
NORMS = [
    "stem_norm",
    *(f"{b}_{part}_norm" for b in ("strided", "shortcut") for part in ("expand", "depthwise", "project")),
]


def names_of(model, train_from):
    variables = trained_from(model, lowering.trainable_variables(model), train_from)
    return [variable.name for variable in variables]


def head_and(*norms):
    return {f"{norm}/beta" for norm in norms} | {"predictions/kernel", "predictions/bias"}


@pytest.mark.parametrize(
    ("train_from", "left"),
    [
        (None, NORMS),
        (0, NORMS),
        (0.1, NORMS),  # of 8 layers
        (0.125, NORMS[1:]),
        (0.25, NORMS[2:]),
        (0.5, NORMS[4:]),
        (0.99, []),
        ("stem", NORMS),
        ("strided_expand_norm", NORMS[1:]),
        ("strided_project", NORMS[3:]),  # trains nothing itself
        ("strided", NORMS[1:]),  # a block
        ("shortcut", NORMS[4:]),
        ("shortcut_add", []),
        ("predictions", []),
    ],
)
def test_what_is_left_to_train(train_from, left):
    model = tinytl_keras.convert(residual_network(), "bias")
    assert set(names_of(model, train_from)) == head_and(*left)


def test_the_order_is_the_model_s():
    model = tinytl_keras.convert(residual_network(), "bias")
    every = names_of(model, None)
    assert names_of(model, 0.5) == [name for name in every if name in names_of(model, 0.5)]


def test_a_lite_residual_branch_counts_as_one_layer():
    model = tinytl_keras.convert(residual_network(), "lite_residual")
    assert all(name.startswith("shortcut_lite_residual") for name in names_of(model, "shortcut_lite_residual")[:-2])
    assert len(names_of(model, "shortcut_lite_residual")) == 8
    assert names_of(model, "shortcut") == names_of(model, "shortcut_lite_residual") == names_of(model, 0.5)


def test_layers_of_models_inside_the_model_count_one_by_one():
    inner = residual_network()
    inputs = keras.Input(inner.input_shape[1:])
    x = inner(inputs)
    model = keras.Model(inputs, layers.Dense(2, name="outer")(x))
    every, left = names_of(model, None), names_of(model, "shortcut")
    assert 0 < len(left) < len(every)
    assert not any("stem" in name or "strided" in name for name in left)


def test_with_the_head_alone_nothing_changes():
    model = tinytl_keras.convert(residual_network(), "last")
    for train_from in (0.9, "predictions", "stem", None):
        assert set(names_of(model, train_from)) == head_and()


@pytest.mark.parametrize("value", [1, 1.0, -0.1, 2, True, float("nan"), [0.5]])
def test_refused_fractions(value):
    model = tinytl_keras.convert(residual_network(), "bias")
    with pytest.raises(ValueError, match=r"train_from must be .* a fraction in \[0, 1\)"):
        names_of(model, value)


@pytest.mark.parametrize(
    ("name", "close"), [("shortcut_ad", "'shortcut_add'"), ("shortcuts", "'shortcut'"), ("zzz", "'predictions'")]
)
def test_an_unknown_name_is_answered_with_similar_ones(name, close):
    model = tinytl_keras.convert(residual_network(), "bias")
    with pytest.raises(ValueError, match=f"train_from='{name}': the model has no layer or block") as error:
        names_of(model, name)
    assert close in str(error.value)


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("options", [{}, {"micro_batch": 1, "clip_norm": 0.1}], ids=["train", "accumulate"])
def test_the_rest_trains_as_in_keras_with_frozen_layers(options, kernels, tmp_path):
    model = tinytl_keras.convert(residual_network(), "full")
    path = tmp_path / "x.tflite"
    report = tflite_export.export(
        model, path, batch_size=2, train_from="shortcut", optimizer=tflite_export.SGD(0.9), kernels=kernels, **options
    )
    left = [v for v in model.trainable_variables if v.path.startswith(("shortcut", "predictions"))]
    names = [v.path for v in left]
    assert report.max_difference < 1e-3 and list(report.trainable_names) == names
    info = json.loads(flatbuffer.read(path).metadata["tinytl"])
    assert [t["name"] for t in info["trainables"]] == names

    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=KERNELS[kernels])
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}
    before = runners["save"](request=np.zeros(1, np.float32))
    assert set(before) == {*names, *(f"{name}/momentum" for name in names)}
    x = np.random.default_rng(0).normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    y, rate = np.array([0, 3], np.int32), np.array([0.05], np.float32)
    if options:
        for row in range(2):
            runners["accumulate"](x=x[row : row + 1], y=y[row : row + 1])
        runners["apply"](learning_rate=rate)
    else:
        runners["train"](x=x, y=y, learning_rate=rate)
    after = runners["save"](request=np.zeros(1, np.float32))
    with tf.GradientTape() as tape:
        probabilities = model(x, training=False)
        loss = -tf.reduce_mean(tf.math.log(tf.gather(probabilities, y, batch_dims=1)))
    gradients = tape.gradient(loss, [v.value for v in left])
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradients))
    factor = min(1, options.get("clip_norm", np.inf) / norm)
    for name, gradient in zip(names, gradients, strict=True):
        expected = -0.05 * factor * gradient.numpy()
        assert np.linalg.norm(after[name] - before[name] - expected) <= 1e-3 * np.linalg.norm(expected) + 1e-7, name


def test_frozen_layers_are_constants_and_part_of_the_fingerprint():
    model = tinytl_keras.convert(residual_network(), "bias")
    whole, part = (compile_model(model, ExportOptions(train_from=train_from)) for train_from in (None, "shortcut"))
    reads = [{v.name for v in compiled.program.variables} for compiled in (whole, part)]
    assert reads[1] == head_and(*NORMS[4:]) < reads[0]
    assert len(part.training[0].ops) < len(whole.training[0].ops)
    assert part.description.fingerprint != whole.description.fingerprint
    beta = model.get_layer("stem_norm").beta
    beta.assign(beta + 1)
    again = compile_model(model, ExportOptions(train_from="shortcut"))
    assert again.description.fingerprint != part.description.fingerprint


def test_the_budget_decides_how_far_training_reaches_back():
    model = tinytl_keras.convert(residual_network(33), "bias")
    count = 8  # trainable layers

    def compiled(train_from, budget):
        return compile_model(model, ExportOptions(kernels="builtin", train_from=train_from, memory_budget=budget))

    def arena(compiled):
        return plan(compiled.training[0]).total_bytes

    least = [arena(compiled((frozen + 0.5) / count, "1GB")) for frozen in range(count)]
    assert least[0] > least[-1]
    budget = (least[0] + least[-1]) // 2
    found = compiled("budget", budget)
    assert arena(found) <= budget
    frozen = 1 + count - len(found.trainables)  # the head has two variables, the others one
    assert 0 < frozen < count - 1
    with pytest.raises(BudgetTooSmall, match=r"memory_budget=.*train_from='budget'"):
        compiled((frozen - 1 + 0.5) / count, budget)


def test_what_the_budget_cannot_decide():
    model = tinytl_keras.convert(residual_network(33), "bias")
    with pytest.raises(ValueError, match="give one"):
        compile_model(model, ExportOptions(train_from="budget"))
    with pytest.raises(BudgetTooSmall):
        compile_model(model, ExportOptions(train_from="budget", memory_budget=100))
