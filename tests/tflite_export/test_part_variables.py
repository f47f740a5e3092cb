"""Which kernels are stored in parts, and that nobody outside of the file sees it."""

import keras
import numpy as np
import pytest

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export import flatbuffer, part_variables
from tflite_export.graph import Variable
from tflite_export.part_variables import Division, in_parts, whole_shape
from tflite_export.runtime import OnDeviceModel


def kernel(*shape) -> Variable:
    return Variable("layer/kernel", np.random.default_rng(0).normal(size=shape).astype(np.float32))


def test_a_large_kernel_is_a_variable_for_each_part():
    for large, axis in ((kernel(3, 3, 96, 192), 3), (kernel(192, 3, 3, 96), 0), (kernel(1200, 102), 1)):
        parts = in_parts((large,), {large: Division(axis, (2,))})
        assert [part.name for part in parts] == ["layer/kernel/part_0", "layer/kernel/part_1"]
        assert {part.whole for part in parts} == {"layer/kernel"} and whole_shape(parts) == large.shape
        np.testing.assert_array_equal(np.concatenate([part.initial for part in parts], axis), large.initial)


@pytest.mark.parametrize("counts, expected", [((2, 4, 5, 10), 5), ((2, 3), 3), ((1,), 1), ((10,), 10)])
def test_the_parts_are_the_fewest_that_are_not_large_or_the_most(counts, expected, monkeypatch):
    monkeypatch.setattr(part_variables, "_LARGE", 1000)
    large = kernel(20, 60)  # 4,800 bytes
    assert len(in_parts((large,), {large: Division(1, counts)})) == expected


def test_other_variables_stay():
    large, small = kernel(3, 3, 96, 192), kernel(3, 3, 8, 16)
    assert in_parts((large, small), {small: Division(3, (2,))}) == (large, small)
    assert in_parts((large,), {large: Division(3, (2,))}, apart=("layer/kernel",)) == (large,)


@pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"batch_size": 4, "micro_batch": 2, "clip_norm": 1.0}])
def test_a_file_in_parts_trains_saves_and_merges_as_a_whole_one(options, tmp_path, monkeypatch):
    """`export` holds it against Keras; a state goes from one form into the other and back."""
    keras.utils.set_random_seed(0)
    model = tinytl_keras.convert(residual_network(17), "lite_residual+bias")
    trainable = tmp_path / "whole.tflite", tmp_path / "parts.tflite"
    for path, large in zip(trainable, (1 << 40, 1)):
        monkeypatch.setattr(part_variables, "_LARGE", large)
        tflite_export.export(model, path, kernels="builtin", **options)
    stored = [flatbuffer.read(path.read_bytes()).variables for path in trainable]
    assert len(stored[0]) < len(stored[1])
    x = np.random.default_rng(0).normal(size=(4, *model.input_shape[1:])).astype(np.float32)
    whole, parts = (OnDeviceModel(path) for path in trainable)
    rows = len(x) if "micro_batch" in options else 1
    parts.train_step(x[:rows], np.zeros(rows, np.int32), 0.01)
    parts.save(tmp_path / "state.npz")
    whole.restore(tmp_path / "state.npz")
    np.testing.assert_allclose(whole.predict(x), parts.predict(x), rtol=1e-4, atol=1e-6)
    for path in trainable:
        tflite_export.merge(path, tmp_path / "state.npz", tmp_path / f"merged_{path.name}")
    merged = [tmp_path / f"merged_{path.name}" for path in trainable]
    sizes = [path.stat().st_size for path in merged]
    assert abs(sizes[0] - sizes[1]) < 0.1 * sizes[0]
    kinds = [[op.kind for op in flatbuffer.read(path.read_bytes()).signatures[0].ops] for path in merged]
    assert kinds[0].count("FULLY_CONNECTED") == kinds[1].count("FULLY_CONNECTED")


def test_a_dense_layer_in_uneven_parts_trains_and_merges_to_one_operator(tmp_path, monkeypatch):
    """`export` holds it against Keras."""
    monkeypatch.setattr(part_variables, "_LARGE", 200)
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(13, activation="softmax", name="head")])
    tflite_export.export(model, tmp_path / "parts.tflite", kernels="builtin", batch_size=2)
    variables = flatbuffer.read((tmp_path / "parts.tflite").read_bytes()).variables
    assert [v.shape for v in variables if "/part_" in v.name] == [(10, 5), (10, 4), (10, 4)]
    state = {weight.path: weight.numpy() for weight in model.weights}
    tflite_export.merge(tmp_path / "parts.tflite", state, tmp_path / "merged.tflite")
    (graph,) = flatbuffer.read((tmp_path / "merged.tflite").read_bytes()).signatures
    assert [op.kind for op in graph.ops] == ["FULLY_CONNECTED", "SOFTMAX"]
