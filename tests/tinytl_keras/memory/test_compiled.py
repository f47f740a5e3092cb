"""The compiled step, told by Keras layers, against the plan of what export writes."""

import keras
import pytest

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export import flatbuffer
from tflite_export.arena import plan
from tinytl_keras import memory_report


@pytest.fixture(scope="module")
def model():
    return tinytl_keras.convert(residual_network(), "lite_residual+bias", head_dropout=0.1, num_classes=4)


@pytest.fixture(scope="module")
def report(model):
    return memory_report(model, 3, optimizer="adam", kernels="builtin")


def test_it_is_what_export_writes(model, report, tmp_path):
    options = {"batch_size": 3, "optimizer": "adam", "kernels": "builtin"}
    exported = tflite_export.export(model, tmp_path / "model.tflite", verify=False, **options)
    train = next(graph for graph in flatbuffer.read(tmp_path / "model.tflite").signatures if graph.name == "train")
    assert report.arena_bytes == exported.train_arena_bytes == plan(train).total_bytes
    assert report.inference_arena_bytes == exported.infer_arena_bytes
    assert [moment.operator for moment in report.moments] == [op.kind for op in train.ops]
    assert report.accounting == "compiled" and report.batch_size == 3
    parts = dict(report.parts)
    assert parts["trainable weights"] == exported.trainable_bytes
    assert parts["optimizer state"] == 2 * exported.trainable_bytes + 4
    assert parts["arena of the step"] == report.arena_bytes
    assert report.total_bytes == sum(parts.values())
    assert report.parameter_bytes == parts["frozen weights and constants"] + parts["trainable weights"]


def test_parameters_are_those_of_the_model(model, report):
    summary = tinytl_keras.summary(model)
    assert (report.trainable_parameters, report.frozen_parameters) == (
        summary.trainable_parameters,
        summary.frozen_parameters,
    )


def test_the_peak(report):
    """The tensors that are named add up to it, and it is that of one sample."""
    live = [moment.live_bytes for moment in report.moments]
    assert report.peak_index == live.index(max(live))
    assert sum(tensor.nbytes for tensor in report.peak_tensors) == max(live) <= report.arena_bytes
    moment = report.moments[report.peak_index]
    for role in ("stored", "working", "workspace"):
        named = sum(tensor.nbytes for tensor in report.peak_tensors if tensor.role == role)
        assert named == getattr(moment, f"{role}_bytes")
    assert report.peak_activation_bytes == -(-max(live) // 3)


def test_layers_are_those_of_the_model(model, report):
    """Every byte that is stored for the backward pass belongs to one of them, but for those of the loss's operators and
    of the vectors that the file holds as one."""
    names = [row.name for row in report.layers]
    known = [layer.name for layer in model.layers]
    assert names[-1] == "loss"
    assert [name for name in known if name in names] == names[:-1]
    stored = [row.stored_bytes for row in report.layers]
    assert [row.reach_bytes for row in report.layers] == [sum(stored[i:]) for i in range(len(stored))]
    vectors = 4 * sum(v.shape[0] for v in model.trainable_variables if len(v.shape) == 1)
    assert sum(stored) >= report.moments[report.forward_moments].stored_bytes - vectors - 64
    assert {row.block for row in report.layers} == {"", "strided", "shortcut"}
    assert {"labels", "input", "learning_rate"} >= {t.layer for t in report.peak_tensors} - {*names, "other"}


def test_branches_store_more_than_biases(model, report):
    bias = memory_report(tinytl_keras.convert(residual_network(), "bias", num_classes=4), 3, kernels="builtin")
    for block in ("strided", "shortcut"):
        stored = [sum(row.stored_bytes for row in r.layers if row.block == block) for r in (bias, report)]
        assert 0 < stored[0] < stored[1]


def test_training_from_a_block_on_stores_nothing_before_it():
    model = tinytl_keras.convert(residual_network(), "bias")
    report = memory_report(model, kernels="builtin", train_from="shortcut")
    whole = memory_report(model, kernels="builtin")
    before = [row for row in report.layers if row.block == "strided"]
    assert before and not any(row.stored_bytes for row in before)
    assert report.trainable_parameters < whole.trainable_parameters
    assert report.trainable_parameters + report.frozen_parameters == model.count_params()
    assert report.arena_bytes < whole.arena_bytes


def test_micro_batches_are_two_signatures():
    model = tinytl_keras.convert(residual_network(), "bias")
    report = memory_report(model, 4, micro_batch=1)
    parts = dict(report.parts)
    assert parts["arenas of accumulate and apply"] == report.arena_bytes
    assert parts["accumulated gradients"] == parts["trainable weights"] + 4
    whole = memory_report(model, 1)
    assert report.moments[-1].operator != whole.moments[-1].operator or len(report.moments) > len(whole.moments)
    assert report.peak_activation_bytes < 1.5 * whole.peak_activation_bytes


def test_micro_controllers():
    model = tinytl_keras.convert(residual_network(), "bias")
    report = memory_report(model, runtime="micro")
    assert max(moment.live_bytes for moment in report.moments) <= report.arena_bytes
    assert 0 < report.forward_moments < len(report.moments)


def test_layers_of_models_inside_the_model():
    inner = residual_network()
    body = keras.Model(inner.inputs, inner.get_layer("shortcut_add").output, name="body")
    pooled = keras.layers.GlobalAveragePooling2D()
    model = keras.Sequential([keras.Input((17, 17, 3)), body, pooled, keras.layers.Dense(2, name="head")])
    report = memory_report(tinytl_keras.convert(model, "bias"), kernels="builtin")
    blocks = {row.name: row.block for row in report.layers}
    assert {name.rpartition("_")[0] for name, block in blocks.items() if block == "shortcut"} >= {"shortcut"}
    assert blocks["head"] == ""


def test_what_export_refuses_is_refused(model):
    with pytest.raises(TypeError, match="export has no option 'optimiser'"):
        memory_report(model, optimiser="adam")
    with pytest.raises(ValueError, match="kernels must be one of"):
        memory_report(model, kernels="neon")
