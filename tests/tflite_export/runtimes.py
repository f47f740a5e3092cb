"""Runs a Graph in every runtime there is, so that tests can hold them against each other."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_export import flatbuffer
from tflite_export.graph import Graph, Program
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.legalise_micro import legalise_micro
from tflite_export.passes.legalise_xnnpack import legalise_xnnpack

KERNELS = {
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "xnnpack": OpResolverType.AUTO,
}


def run_litert(graph: Graph, inputs: dict[str, np.ndarray], kernels: str) -> dict[str, np.ndarray]:
    """Outputs of a legal graph in LiteRT with the named kernel set."""
    content = flatbuffer.write(Program((graph,)))
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=KERNELS[kernels], num_threads=1)
    return interpreter.get_signature_runner(graph.name)(**{name: inputs[name] for name in graph.inputs})


def run_micro(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs of a legal graph in TFLite Micro's Python wheel."""
    runtime = pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]").runtime
    interpreter = runtime.Interpreter.from_bytes(flatbuffer.write(Program((graph,))), arena_size=4 << 20)
    for i, name in enumerate(graph.inputs):
        interpreter.set_input(inputs[name], i)
    interpreter.invoke()
    positions = list(dict.fromkeys(graph.outputs.values()))
    return {name: interpreter.get_output(positions.index(tensor)) for name, tensor in graph.outputs.items()}


def _finish(graph: Graph) -> Graph:
    return remove_dead_code(fold_constants(graph))


def run_everywhere(graph: Graph, inputs: dict[str, np.ndarray], micro: bool = True):
    """(runtime, outputs) of a canonical graph, each runtime in the form that is made for it."""
    builtin, xnnpack = _finish(legalise_builtin(graph)), _finish(legalise_xnnpack(graph))
    yield "LiteRT builtin", run_litert(builtin, inputs, "builtin")
    yield "LiteRT XNNPACK", run_litert(xnnpack, inputs, "xnnpack")
    yield "LiteRT builtin, form for XNNPACK", run_litert(xnnpack, inputs, "builtin")
    if micro:
        yield "TFLM", run_micro(_finish(legalise_micro(graph)), inputs)


def relative_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """||got - expected|| / ||expected||, or / 1e-3 where the expected value is (nearly) zero."""
    expected = np.asarray(expected, np.float64)
    return float(np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-3))
