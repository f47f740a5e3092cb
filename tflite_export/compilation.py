"""A canonical graph to the form and the order that a runtime does best."""

from __future__ import annotations

from tflite_export.graph import Graph
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.early_masks import compute_masks_early
from tflite_export.passes.int8_builtin import cast_where_used
from tflite_export.passes.int8_xnnpack import multiply_by_int8
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.legalise_micro import joined_in_steps, legalise_micro
from tflite_export.passes.legalise_xnnpack import legalise_xnnpack
from tflite_export.passes.tinytl_kernels import use_tinytl_kernels
from tflite_export.passes.variables import read_where_used
from tflite_export.schedule import schedule

_AT_ONCE = {"builtin": 1 << 17, "micro": 1 << 13}  # bytes of a float32 kernel, however small the maps are


def _int8_builtin(graph: Graph) -> Graph:
    return cast_where_used(legalise_builtin(graph), _AT_ONCE["builtin"])


def _int8_micro(graph: Graph) -> Graph:
    at_once = _AT_ONCE["micro"]
    return joined_in_steps(cast_where_used(legalise_micro(graph, turned_at_once=at_once), at_once))


def _tinytl(graph: Graph) -> Graph:
    return _int8_micro(use_tinytl_kernels(graph))


def _int8_xnnpack(graph: Graph) -> Graph:
    return multiply_by_int8(legalise_xnnpack(graph))


LEGALISE = {
    ("xnnpack", "float32"): legalise_xnnpack,
    ("builtin", "float32"): legalise_builtin,
    ("micro", "float32"): legalise_micro,
    ("xnnpack", "int8"): _int8_xnnpack,
    ("builtin", "int8"): _int8_builtin,
    ("micro", "int8"): _int8_micro,
    ("tinytl", "int8"): _tinytl,
}


def runtime_of(form: str) -> str:
    """The runtime, "litert" or "micro", that a form of graphs is for."""
    return "micro" if form in ("micro", "tinytl") else "litert"


def compile_signature(graph: Graph, form: str, frozen: str = "float32") -> Graph:
    """`graph` for LiteRT's kernel set "xnnpack" or "builtin", or for TFLite Micro: "micro", or "tinytl" with our
    custom operators.

    Args:
        frozen: what frozen kernels are stored as, "float32" or "int8": those that are made of int8 steps.
    """
    graph = elide_broadcasts(graph)
    graph = compute_masks_early(graph)
    graph = LEGALISE[form, frozen](graph)
    graph = remove_dead_code(graph)
    graph = read_where_used(graph)
    return schedule(graph, runtime_of(form))
