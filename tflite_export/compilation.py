"""A canonical graph to the form and the order that a runtime does best."""

from __future__ import annotations

from tflite_export.graph import Graph
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.early_masks import compute_masks_early
from tflite_export.passes.legalise_builtin import legalise_builtin
from tflite_export.passes.legalise_micro import legalise_micro
from tflite_export.passes.legalise_xnnpack import legalise_xnnpack
from tflite_export.passes.variables import read_where_used
from tflite_export.schedule import schedule

LEGALISE = {"xnnpack": legalise_xnnpack, "builtin": legalise_builtin, "micro": legalise_micro}


def compile_signature(graph: Graph, form: str) -> Graph:
    """`graph` for LiteRT's kernel set "xnnpack" or "builtin", or for TFLite Micro ("micro")."""
    graph = elide_broadcasts(graph)
    graph = compute_masks_early(graph)
    graph = LEGALISE[form](graph)
    graph = remove_dead_code(graph)
    graph = read_where_used(graph)
    return schedule(graph, "micro" if form == "micro" else "litert")
