"""The memory that is told without a file, against the file that export writes."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import tflite_export
import tinytl_keras
from tests.tflite_export.models import residual_network
from tflite_export import flatbuffer
from tflite_export.arena import plan
from tflite_export.training_memory import training_memory


@pytest.mark.parametrize(
    "options",
    [
        {"kernels": "builtin", "optimizer": "adam"},
        {"kernels": "xnnpack", "batch_size": 3, "infer_batch_size": 2},
        {"train_from": 0.5, "optimizer": tflite_export.SGD(momentum=0.9)},
        {"batch_size": 4, "micro_batch": 2, "clip_norm": 1.0},
        {"runtime": "micro", "batch_size": 2, "infer_batch_size": 2},
    ],
)
def test_it_is_the_memory_of_the_file(options, tmp_path):
    """The arena of every signature that trains is planned anew from the file, and constants are counted there."""
    model = tinytl_keras.convert(residual_network(), "lite_residual+bias")
    memory = training_memory(model, **options)
    report = tflite_export.export(model, tmp_path / "model.tflite", verify=False, **options)
    assert memory.arena_bytes == report.train_arena_bytes
    assert memory.inference_arena_bytes == report.infer_arena_bytes
    assert memory.trainable_bytes == report.trainable_bytes == 4 * memory.trainable_parameters
    assert memory.rows == options.get("micro_batch", options.get("batch_size", 1))
    if options.get("runtime") != "micro":
        signatures = flatbuffer.read(tmp_path / "model.tflite").signatures
        train = [graph for graph in signatures if graph.name in ("train", "accumulate", "apply")]
        assert memory.arena_bytes == sum(plan(graph).total_bytes for graph in train)
        assert [line.arena_bytes for line in memory.timelines] == [plan(graph).total_bytes for graph in train]
        assert [len(line.graph.ops) for line in memory.timelines] == [len(graph.ops) for graph in train]
    assert memory.weight_bytes == constants_in((tmp_path / "model.tflite").read_bytes())


def constants_in(content):
    """Bytes of the buffers that tensors name, in all subgraphs but the last, which initialises the variables."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    used = {tensor.buffer for subgraph in model.subgraphs[:-1] for tensor in subgraph.tensors}
    return sum(len(model.buffers[i].data) for i in used if model.buffers[i].data is not None)


@pytest.mark.parametrize(
    ("optimizer", "slots", "steps"), [("sgd", 0, 0), (tflite_export.SGD(momentum=0.5), 1, 0), ("adam", 2, 4)]
)
def test_the_optimizers_part(optimizer, slots, steps):
    """Beside each trainable value its slots, and 4 bytes for the count of steps."""
    memory = training_memory(tinytl_keras.convert(residual_network(), "bias"), optimizer=optimizer)
    assert memory.optimizer_bytes == slots * memory.trainable_bytes + steps
    assert memory.accumulator_bytes == 0


def test_gradients_that_accumulate_are_counted_apart():
    """One sum for each trainable value, and 4 bytes for the count of rows."""
    model = tinytl_keras.convert(residual_network(), "bias")
    memory = training_memory(model, batch_size=4, micro_batch=1, optimizer="adam")
    trainable = 4 * sum(np.prod(variable.shape) for variable in model.trainable_variables)
    assert memory.optimizer_bytes == 2 * trainable + 4
    assert memory.accumulator_bytes == trainable + 4


def test_an_option_that_export_does_not_have():
    model = tinytl_keras.convert(residual_network(), "bias")
    with pytest.raises(TypeError, match="export has no option 'optimiser'; it has batch_size"):
        training_memory(model, optimiser="adam")
    with pytest.raises(ValueError, match="kernels"):
        training_memory(model, kernels="none")
    assert training_memory(model, verify=False).rows == 1
