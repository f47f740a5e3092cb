"""The part of a graph that the custom operators of `micro/tflm` run; the rest stays canonical, for `legalise_micro`."""

from __future__ import annotations

from tflite_export.graph import Graph
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.tinytl_gradients import fuse_gradients
from tflite_export.passes.tinytl_layers import as_custom_layers
from tflite_export.passes.tinytl_updates import fuse_updates


def use_tinytl_kernels(graph: Graph) -> Graph:
    """`graph`, canonical, with custom operators (`graph.CUSTOM`) for convolutions and dense layers, their gradients,
    masks and updates."""
    graph = as_custom_layers(fold_constants(elide_broadcasts(graph)))
    return remove_dead_code(fuse_updates(fuse_gradients(graph)))
