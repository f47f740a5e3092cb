"""One check for every gradient rule: TensorFlow, the numpy evaluator and all runtimes agree on a graph's gradients."""

from __future__ import annotations

import numpy as np

from tests.tflite_export.runtimes import relative_difference, run_everywhere
from tests.tflite_export.tensorflow_reference import value_and_gradients
from tflite_export.autodiff import differentiate
from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.dead_code import remove_dead_code


def input_tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape)


def with_gradients(forward: Graph) -> Graph:
    """`forward`, whose one output is ``y``, with the gradients of ``sum(y * cotangent)`` by all its inputs."""
    y = forward.outputs["y"]
    cotangent = Tensor("cotangent", y.shape)
    b = Builder("gradient")
    gradients = differentiate(forward.ops, {y: cotangent}, forward.inputs.values(), b)
    named = {f"d{name}": gradients[tensor] for name, tensor in forward.inputs.items()}
    inputs = {**forward.inputs, "cotangent": cotangent}
    graph = Graph("main", inputs, {"y": y, **named}, (*forward.ops, *b.ops))
    return remove_dead_code(elide_broadcasts(graph))


def check_lowered(lowered: Graph, **options) -> None:
    """`check_gradients` for a graph as the converter writes it: what is differentiated is its canonical form."""
    check_gradients(canonicalise(lowered), reference=lowered, **options)


def check_gradients(
    forward: Graph,
    seed: int = 0,
    inputs=None,
    tolerance: float = 1e-5,
    evaluator: float = 1e-7,
    reference: Graph | None = None,
    micro: bool = True,
) -> None:
    """Asserts that values and gradients of `forward` agree everywhere; in the evaluator only constants are float32.

    TensorFlow computes those of `reference`, `forward` itself if None. Without `micro`, TFLite Micro is left out: it
    does not have the operator.
    """
    random = np.random.default_rng(seed)
    draw = {name: random.normal(size=t.shape).astype(np.float32) for name, t in forward.inputs.items()}
    draw.update(inputs or {})
    cotangent = random.normal(size=forward.outputs["y"].shape).astype(np.float32)
    value, gradients = value_and_gradients(reference or forward, draw, cotangent)
    expected = {"y": value, **{f"d{name}": gradient for name, gradient in gradients.items()}}

    graph = with_gradients(forward)
    draw["cotangent"] = cotangent
    _compare("evaluator", evaluate(graph, draw), expected, graph, evaluator)
    for runtime, got in run_everywhere(graph, draw, micro):
        _compare(runtime, got, expected, graph, tolerance)


def _compare(runtime, got, expected, graph, tolerance):
    for name, value in expected.items():
        difference = relative_difference(got[name].reshape(value.shape), value)
        described = "\n".join(map(repr, graph.ops))
        assert difference <= tolerance, f"{runtime}: {name} differs by {difference:.1e}\n{described}"
