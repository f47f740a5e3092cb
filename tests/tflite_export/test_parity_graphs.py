"""The official modules' outputs and gradients through the training compiler, in every runtime."""

import numpy as np
import pytest

from tests import parity_cases
from tests.tflite_export.runtimes import run_everywhere
from tflite_export import lowering
from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.losses import SparseCategoricalCrossentropy
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.dead_code import remove_dead_code

pytestmark = pytest.mark.skipif(
    not parity_cases.DIRECTORY.is_dir(), reason=f"the official vectors are not here: {parity_cases.DIRECTORY}"
)


def gradient_graph(model, batch_size: int) -> Graph:
    """The lowered model with the gradients of ``sum(output * cotangent)`` by its inputs and its variables, by name."""
    forward = canonicalise(lowering.lower(model, batch_size, lowering.trainable_variables(model)))
    (output,) = forward.outputs.values()
    reads = {op.attributes["variable"].name: op.outputs[0] for op in forward.ops if op.kind == "READ_VARIABLE"}
    cotangent, b = Tensor("cotangent", output.shape), Builder("gradient")
    targets = {**forward.inputs, **reads}
    gradients = differentiate(forward.ops, {output: cotangent}, targets.values(), b)
    outputs = {"y": output, **{f"d/{name}": gradients[tensor] for name, tensor in targets.items()}}
    inputs = {**forward.inputs, "cotangent": cotangent}
    return remove_dead_code(elide_broadcasts(Graph("main", inputs, outputs, (*forward.ops, *b.ops))))


@pytest.mark.parametrize("name", parity_cases.names())
def test_official_module_in_every_runtime(name):
    case = parity_cases.load(name)
    graph = gradient_graph(case.model, len(case.outputs))
    inputs = {**case.inputs, "cotangent": case.cotangent}
    expected = {"y": case.outputs, **{f"d/{key}": g for key, g in (case.input_gradients | case.gradients).items()}}
    assert set(graph.outputs) == set(expected)
    assert_parity("evaluator", evaluate(graph, inputs), expected)
    for runtime, got in run_everywhere(graph, inputs):
        assert_parity(runtime, got, expected)


def assert_parity(runtime, got, expected):
    for key, value in expected.items():
        difference = np.abs(got[key] - value).max() / np.abs(value).max()
        tolerance = 1e-5 if key == "y" else 1e-4
        assert difference <= tolerance, f"{runtime}: {key} differs by {difference:.2e} of its largest value"


@pytest.mark.parametrize("smoothing", ["0.0", "0.1", "0.7"])
def test_official_losses_in_every_runtime(smoothing):
    data = parity_cases.losses()
    b, logits = Builder("loss"), Tensor("logits", data["logits"].shape)
    tensors = SparseCategoricalCrossentropy(float(smoothing)).build(b, logits, ())
    outputs = {"y": tensors.loss, "d/logits": tensors.gradient(b, logits.shape)}
    graph = Graph("main", {"logits": logits, "y": tensors.labels}, outputs, tuple(b.ops))
    inputs = {"logits": data["logits"].astype(np.float32), "y": data["labels"].astype(np.int32)}
    expected = {"y": data[f"loss_ls{smoothing}"].reshape(1), "d/logits": data[f"glogits_ls{smoothing}"]}
    for runtime, got in run_everywhere(graph, inputs):
        assert_parity(runtime, got, expected)
