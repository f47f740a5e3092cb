"""A canonical graph to the form and the order that a runtime does best."""

from __future__ import annotations

from tflite_export.graph import Graph
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.early_masks import compute_masks_early
from tflite_export.passes.int8_builtin import cast_where_used
from tflite_export.passes.int8_xnnpack import multiply_by_int8
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.legalise_micro import legalise_micro
from tflite_export.passes.legalise_xnnpack import legalise_xnnpack
from tflite_export.passes.variables import read_where_used
from tflite_export.schedule import schedule

LEGALISE = {
    ("xnnpack", "float32"): legalise_xnnpack,
    ("builtin", "float32"): legalise_builtin,
    ("micro", "float32"): legalise_micro,
    ("xnnpack", "int8"): lambda graph: multiply_by_int8(legalise_xnnpack(graph)),
    ("builtin", "int8"): lambda graph: cast_where_used(legalise_builtin(graph), at_once=1 << 17),
    ("micro", "int8"): lambda graph: cast_where_used(legalise_micro(graph, turned_at_once=1 << 13), at_once=1 << 13),
}


def compile_signature(graph: Graph, form: str, frozen: str = "float32") -> Graph:
    """`graph` for LiteRT's kernel set "xnnpack" or "builtin", or for TFLite Micro ("micro").

    Args:
        frozen: what frozen kernels are stored as, "float32" or "int8": those that are made of int8 steps.
    """
    graph = elide_broadcasts(graph)
    graph = compute_masks_early(graph)
    graph = LEGALISE[form, frozen](graph)
    graph = remove_dead_code(graph)
    graph = read_where_used(graph)
    return schedule(graph, "micro" if form == "micro" else "litert")
