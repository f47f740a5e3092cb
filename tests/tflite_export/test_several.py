"""Several inputs and outputs: every step in LiteRT and in TFLM against GradientTape and Keras's optimizers."""

import json

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

import tflite_export
import tinytl_keras
from tests.tflite_export.runtimes import KERNELS
from tflite_export import flatbuffer, losses, lowering
from tflite_export.verify import update_difference

ROWS, STEPS = 4, 3
LOSSES = {"kind": "sparse_categorical_crossentropy", "size": "mean_squared_error"}
WEIGHTS = {"kind": 1.0, "size": 0.3}


def network(regularizer=None):
    """An image and a row of a table, a layer that is called twice, a class and two numbers."""
    keras.utils.set_random_seed(1)
    image, table = keras.Input((7, 6, 3), name="image"), keras.Input((4,), name="table")
    x = layers.Conv2D(4, 3, activation="relu", name="conv", kernel_regularizer=regularizer)(image)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    shared = layers.Dense(5, activation="tanh", name="shared", kernel_regularizer=regularizer)
    x = layers.Concatenate(name="both")([shared(x), shared(table)])
    x = layers.Dropout(0.5, name="drop")(x)
    kind = layers.Dense(3, activation="softmax", name="kind")(x)
    return keras.Model([image, table], [kind, layers.Dense(2, name="size")(x)])


def batch(seed, rows=ROWS):
    random = np.random.default_rng(seed)
    x = {"image": random.normal(size=(rows, 7, 6, 3)), "table": random.normal(size=(rows, 4))}
    y = {"kind": random.integers(0, 3, rows).astype(np.int32), "size": random.normal(size=(rows, 2))}
    return (*({name: a.astype(np.float32) for name, a in x.items()}, y | {"size": y["size"].astype(np.float32)}),)


def keras_step(model, optimizer, x, y, weights, penalties=()):
    """One step of a Keras model in place; each loss is the sum over its labels, by the rows with any label."""
    import tensorflow as tf

    rows = len(y["kind"])
    some = (y["kind"] >= 0) | ~np.isnan(y["size"]).any(axis=1)
    with tf.GradientTape() as tape:
        kind, size = model([x["image"], x["table"]], training=False)
        each = {
            "kind": keras.losses.sparse_categorical_crossentropy(np.maximum(y["kind"], 0), kind),
            "size": tf.reduce_mean((size - np.nan_to_num(y["size"])) ** 2, axis=1),
        }
        labelled = {"kind": y["kind"] >= 0, "size": ~np.isnan(y["size"]).any(axis=1)}
        parts = {
            name: tf.reduce_sum(tf.reshape(loss, (rows,)) * labelled[name].astype(np.float32)) / max(some.sum(), 1)
            for name, loss in each.items()
        }
        loss = sum(weights[name] * parts[name] for name in weights)
        loss += sum(l2 * tf.reduce_sum(model.get_layer(layer).kernel.value ** 2) for layer, l2 in penalties)
    variables = [v for v in model.trainable_variables if set(weights) >= {"size"} or not v.path.startswith("size/")]
    gradients = tape.gradient(loss, [v.value for v in variables])
    optimizer.apply(gradients, variables)
    return float(loss), [float(parts[name]) for name in ("kind", "size") if name in weights]


def runners_of(path, kernels):
    interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def take_step(runners, x, y, rate, micro_batch=None):
    rate = np.array([rate], np.float32)
    labels = {f"y_{name}": value for name, value in y.items()}
    if micro_batch is None:
        return runners["train"](**x, **labels, learning_rate=rate)
    for start in range(0, ROWS, micro_batch):
        part = {name: value[start : start + micro_batch] for name, value in (x | labels).items()}
        result = runners["accumulate"](**part)
    assert runners["apply"](learning_rate=rate)["applied"] == 1
    return result


def saved(runners):
    return runners["save"](request=np.zeros(1, np.float32))


OPTIMIZERS = {
    "sgd": (tflite_export.SGD(), lambda: keras.optimizers.SGD(0.05)),
    "momentum": (tflite_export.SGD(0.9), lambda: keras.optimizers.SGD(0.05, 0.9)),
    "adam": (tflite_export.Adam(), lambda: keras.optimizers.Adam(0.05)),
}
CASES = {  # name: (method, optimizer, what else is exported with, losses, l2 of conv and shared)
    "all": ("full", "sgd", {}, LOSSES, None),
    "biases, adam": ("bias", "adam", {}, LOSSES, None),
    "one output alone": ("full", "sgd", {}, {"kind": LOSSES["kind"]}, None),
    "micro-batches": ("full", "momentum", {"micro_batch": 2}, LOSSES, None),
    "penalties": (None, "momentum", {}, LOSSES, 0.1),
    "penalties, micro-batches, clipped": (None, "sgd", {"micro_batch": 1, "clip_norm": 0.05}, LOSSES, 0.1),
}


@pytest.mark.parametrize(
    ("case", "form"), [*((case, "xnnpack") for case in CASES), ("all", "builtin"), ("penalties", "builtin")]
)
def test_three_steps_are_keras(case, form, tmp_path):
    """In the second step a label of each output is missing, in the third one sample has none at all."""
    method, optimizer, options, trained, l2 = CASES[case]
    model = network(None if l2 is None else keras.regularizers.L2(l2))
    model = model if method is None else tinytl_keras.convert(model, method)
    path = tmp_path / "model.tflite"
    weights = {name: WEIGHTS[name] for name in trained}
    tflite_export.export(
        model, path, batch_size=ROWS, optimizer=OPTIMIZERS[optimizer][0], loss=trained, loss_weights=weights,
        kernels=form, verify=False, **options,
    )  # fmt: skip
    start = [w.numpy().copy() for w in model.weights]
    for kernels in KERNELS:
        model.set_weights(start)
        keras_optimizer = OPTIMIZERS[optimizer][1]()
        keras_optimizer.global_clipnorm = options.get("clip_norm")
        runners = runners_of(path, kernels)
        for number in range(STEPS):
            x, y = batch(number)
            if number and len(trained) > 1:
                y["kind"][0], y["size"][1, 0] = -1, np.nan
            if number == 2:
                y["kind"][3], y["size"][3] = -1, np.nan
            before = saved(runners)
            model_before = {v.path: v.numpy().copy() for v in model.trainable_variables}
            got = take_step(runners, x, {name: y[name] for name in trained}, 0.05, options.get("micro_batch"))
            penalties = () if l2 is None else (("conv", l2), ("shared", l2))
            loss, parts = keras_step(model, keras_optimizer, x, y, weights, penalties)
            if "micro_batch" not in options:
                np.testing.assert_allclose(got["loss"], [loss], rtol=1e-5)
                np.testing.assert_allclose(got["losses"], parts, rtol=1e-5)
                assert got["correct"].shape == (len(trained),) and 0 <= got["correct"][0] <= ROWS
            after = saved(runners)
            weights_after = {v.path: v.numpy() for v in model.trainable_variables if v.path in after}
            assert set(weights_after) == {name for name in after if name.count("/") == 1}
            for name, value in weights_after.items():
                assert np.any(after[name] != before[name]), name
                update = update_difference(model_before[name], value, model_before[name] + after[name] - before[name])
                assert update < 2e-3, (kernels, number, name)


def test_the_signatures_have_kerass_names(tmp_path):
    path = tmp_path / "model.tflite"
    report = tflite_export.export(network(), path, batch_size=3, infer_batch_size=2, loss=LOSSES)
    assert report.max_difference < 1e-4
    assert report.inert_layers == ("drop (Dropout)",) and "inert, as in inference" in str(report)
    infer, train, *_ = flatbuffer.read(path).signatures
    spec = lambda tensors: {name: (t.shape, t.dtype) for name, t in tensors.items()}  # noqa: E731
    assert spec(infer.inputs) == {"image": ((2, 7, 6, 3), "float32"), "table": ((2, 4), "float32")}
    assert spec(infer.outputs) == {
        name: ((2, n), "float32") for name, n in (("kind", 3), ("size", 2), ("kind_logits", 3))
    }
    assert spec(train.inputs) == {
        "image": ((3, 7, 6, 3), "float32"),
        "table": ((3, 4), "float32"),
        "y_kind": ((3,), "int32"),
        "y_size": ((3, 2), "float32"),
        "learning_rate": ((1,), "float32"),
    }
    assert spec(train.outputs) == {"loss": ((1,), "float32"), "correct": ((2,), "int32"), "losses": ((2,), "float32")}


@pytest.mark.parametrize("poisoned", ["image", "table"])
@pytest.mark.parametrize("regularizer", [None, "l2"])
def test_what_is_not_finite_in_one_input_changes_nothing(poisoned, regularizer, tmp_path):
    tflite_export.export(network(regularizer), tmp_path / "x", batch_size=ROWS, loss=LOSSES, verify=False)
    for kernels in KERNELS:
        runners, (x, y) = runners_of(tmp_path / "x", kernels), batch(0)
        before = saved(runners)
        x[poisoned].flat[5] = np.inf
        assert np.isnan(take_step(runners, x, y, 0.1)["loss"])
        y = {"kind": np.full(ROWS, -1, np.int32), "size": np.full((ROWS, 2), np.nan, np.float32)}
        take_step(runners, batch(0)[0], y, 0.1)  # no label at all
        for name, value in saved(runners).items():
            np.testing.assert_array_equal(value, before[name], name)


def test_one_output_that_is_not_finite_stops_the_other_too(tmp_path):
    tflite_export.export(network(), tmp_path / "x", batch_size=ROWS, infer_batch_size=ROWS, loss=LOSSES, verify=False)
    for kernels in KERNELS:
        runners = runners_of(tmp_path / "x", kernels)
        broken = {**saved(runners), "size/bias": np.array([0, np.nan], np.float32)}
        runners["restore"](**broken)
        assert np.isnan(take_step(runners, *batch(0), 0.1)["loss"])
        for name, value in saved(runners).items():
            np.testing.assert_array_equal(value, broken[name], name)


def test_what_is_saved_is_restored(tmp_path):
    options = {"batch_size": ROWS, "optimizer": "adam", "loss": LOSSES, "verify": False}
    tflite_export.export(network(), tmp_path / "x", **options)
    runners = runners_of(tmp_path / "x", "xnnpack")
    take_step(runners, *batch(0), 0.01)
    state = saved(runners)
    take_step(runners, *batch(1), 0.01)
    expected = saved(runners)
    again = runners_of(tmp_path / "x", "xnnpack")
    again["restore"](**state)
    take_step(again, *batch(1), 0.01)
    for name, value in saved(again).items():
        np.testing.assert_array_equal(value, expected[name], name)


def test_the_entry_for_tflm_is_litert_s_step(tmp_path):
    pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    from tflite_export.micro_program import INFER, TRAIN
    from tflite_export.verify_micro import MicroEntry, Twin

    options = {"batch_size": ROWS, "loss": LOSSES, "loss_weights": [1.0, 0.3]}
    model, path = network("l2"), tmp_path / "micro"
    report = tflite_export.export(model, path, runtime="micro", infer_batch_size=ROWS, **options)
    assert report.max_difference < 1e-4  # of Keras's updates
    (entry,) = flatbuffer.read(path).signatures
    assert list(entry.inputs) == ["image", "table", "y_kind", "y_size", "learning_rate", "mode"]
    assert list(entry.outputs) == ["kind", "size", "kind_logits", "loss", "correct", "losses"]
    tflite_export.export(model, tmp_path / "litert", verify=False, infer_batch_size=ROWS, **options)
    litert, micro, twin = runners_of(tmp_path / "litert", "builtin"), MicroEntry(path.read_bytes(), entry), Twin(entry)
    for number in range(STEPS):
        x, y = batch(number)
        rate = np.full(1, 0.05, np.float32)
        labels = {f"y_{name}": value for name, value in y.items()}
        before = twin.save()
        results = [run(TRAIN, **x, **labels, learning_rate=rate) for run in (micro.run, twin.runner.run)]
        expected = litert["train"](**x, **labels, learning_rate=rate)
        for got in results:
            np.testing.assert_allclose(got["loss"], expected["loss"], rtol=1e-5)
            np.testing.assert_allclose(got["losses"], expected["losses"], rtol=1e-5)
            np.testing.assert_array_equal(got["correct"], expected["correct"])
        after = saved(litert)
        for name, value in twin.save().items():
            assert update_difference(before[name], value, after[name]) < 2e-3, name
    predicted, expected = micro.run(INFER, **x), litert["infer"](**x)
    for name, value in expected.items():
        np.testing.assert_allclose(predicted[name], value, atol=1e-5)


def test_names_of_dicts_and_of_a_layer_that_makes_two_outputs():
    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    head = layers.Dense(2, name="head")
    twice = keras.Model([b, a], [head(a), head(b)])
    assert lowering.input_names(twice) == ["right", "left"] and lowering.output_names(twice) == ["head", "head_1"]
    of_dicts = keras.Model({"right": b, "left": a}, {"q": layers.Dense(2)(a), "p": layers.Dense(3)(b)})
    graph = lowering.lower(of_dicts, 2, lowering.trainable_variables(of_dicts))
    assert list(graph.inputs) == ["left", "right"] and {n: t.shape[1] for n, t in graph.outputs.items()} == {
        "p": 3,
        "q": 2,
    }


def test_a_layer_that_makes_two_outputs_adds_up_its_gradients(tmp_path):
    a, b = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    head = layers.Dense(2, name="head")
    model = keras.Model({"right": b, "left": a}, {"p": head(a), "q": head(b)})
    report = tflite_export.export(model, tmp_path / "x", batch_size=2, loss=LOSS_OF_BOTH)
    assert report.max_difference < 1e-4 and report.trainable_names == ("head/kernel", "head/bias")


LOSS_OF_BOTH = {"p": "mean_squared_error", "q": "sparse_categorical_crossentropy"}
REFUSED = {
    "an unknown output": ({"colour": "mean_squared_error"}, None, "no output 'colour'; it has 'kind', 'size'"),
    "a short list": (["mean_squared_error"], None, "a list of 1 for the 2 outputs 'kind', 'size'"),
    "no loss at all": ([None, None], None, "no output has a loss, so nothing trains"),
    "an output's loss": (["binary_crossentropy", None], None, "output 'kind': loss 'binary_crossentropy' does not fit"),
    "a weight without a loss": ({"kind": LOSSES["kind"]}, {"size": 2.0}, "'size' has the weight 2.0, and no loss"),
    "a negative weight": (LOSSES, [1, -1], "'size' must be a number from 0, got -1"),
    "one weight": (LOSSES, 2.0, "must be a list or dict"),
}
ENDS = {"kind": ("softmax", 3), "size": ("linear", 2)}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_losses(case):
    loss, weights, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        losses.resolve_outputs(loss, weights, 0.0, ENDS, list(ENDS))


def test_losses_as_keras_compile_takes_them():
    sparse, squared = losses.SparseCategoricalCrossentropy, losses.MeanSquaredError

    def resolved(loss, weights=None, smoothing=0.0):
        found = losses.resolve_outputs(loss, weights, smoothing, ENDS, list(ENDS))
        return [(one.output, one.loss, one.weight) for one in found]

    both = [("kind", sparse(0.1), 1.0), ("size", squared(), 0.5)]
    assert resolved(LOSSES, {"size": 0.5}, 0.1) == both
    assert resolved(list(LOSSES.values()), [None, 0.5], 0.1) == both
    assert resolved("mean_squared_error") == [("kind", squared(), 1.0), ("size", squared(), 1.0)]
    assert resolved([None, keras.losses.MeanSquaredError()]) == [("size", squared(), 1.0)]
    with pytest.raises(ValueError, match="loss_weights is for models of several outputs"):
        losses.resolve_outputs("mean_squared_error", [2.0], 0.0, {"output": ("linear", 2)}, ["head"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_names": list("abcd")}, "4 names for a model with 3 outputs"),
        ({"input_scale": {"photo": 0.5}}, "no float32 input 'photo'; the model has 'image', 'table'"),
    ],
)
def test_refused_options(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        tflite_export.export(network(), tmp_path / "x.tflite", loss=LOSSES, **options)


@pytest.mark.parametrize("runtime", ["litert", "micro"])
def test_a_map_and_a_class(runtime, tmp_path):
    """A label at every place beside one for the image, held against Keras by `export` in every runtime."""
    if runtime == "micro":
        pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 2))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(image)
    kind = layers.Dense(4, name="kind")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, [layers.Conv2D(3, 1, activation="softmax", name="mask")(x), kind])
    options = {"batch_size": 2, "infer_batch_size": 2} if runtime == "micro" else {"batch_size": 4, "micro_batch": 2}
    assert tflite_export.export(model, tmp_path / "x", runtime=runtime, **options).max_difference < 1e-3


def test_regularizers_and_losses_of_what_is_frozen_do_not_matter(tmp_path):
    """Keras's loss holds the penalties of trainable weights alone; so any regularizer may stand on the others."""
    model = tinytl_keras.convert(network("l1"), "bias")
    assert not model.losses
    tflite_export.export(model, tmp_path / "x", loss=LOSSES, verify=False)
    info = json.loads(flatbuffer.read(tmp_path / "x").metadata["tinytl"])
    assert info["l2"] == {}
    with pytest.raises(ValueError, match="conv/kernel' has a regularizer, .*: L1"):
        tflite_export.export(network("l1"), tmp_path / "x", loss=LOSSES)


def test_a_new_head_needs_one_output():
    with pytest.raises(ValueError, match="needs a model with one output.*with 2 outputs"):
        tinytl_keras.convert(network(), num_classes=5)


def test_memory_report_knows_every_input():
    report = tinytl_keras.memory_report(network(), batch_size=2, loss=LOSSES)
    assert {"image", "table"} <= {tensor.layer for tensor in report.peak_tensors}
    assert "kind" in str(report)


def test_a_program_of_several_is_read_as_it_was_written(tmp_path):
    """Description and graph survive the file."""
    tflite_export.export(network("l2"), tmp_path / "x", loss=LOSSES, loss_weights=WEIGHTS, verify=False)
    info = json.loads(flatbuffer.read(tmp_path / "x").metadata["tinytl"])
    assert info["format_version"] == 2 and info["l2"] == {"conv/kernel": 0.01, "shared/kernel": 0.01}
    assert [(i["name"], i["shape"], i["dtype"]) for i in info["inputs"]] == [
        ("image", [7, 6, 3], "float32"),
        ("table", [4], "float32"),
    ]
    keys = ("name", "labels", "logits", "loss", "loss_weight", "output_activation", "classes", "shape")
    assert [[head[key] for key in keys] for head in info["heads"]] == [
        ["kind", "y_kind", "kind_logits", LOSSES["kind"], 1.0, "softmax", 3, [3]],
        ["size", "y_size", "size", LOSSES["size"], 0.3, "linear", 2, [2]],
    ]
