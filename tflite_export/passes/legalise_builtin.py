"""The form that LiteRT's builtin kernels do best: dynamic biases fused into convolutions, bool masks."""

from __future__ import annotations

from tflite_export.graph import Graph
from tflite_export.passes import legalise
from tflite_export.passes.fusion import combine_biases, fuse_activation, fuse_bias
from tflite_export.passes.rewrite import rewrite

_RULES = {
    "ALL_FINITE": legalise.all_finite,
    "BROADCAST": legalise.broadcast,
    "ACTIVATION_MASK": legalise.mask_of_output,
    "APPLY_MASK": legalise.select_by_mask,
    "MATMUL": legalise.matmul_by_fully_connected,
    "ONE_IF_FINITE": legalise.one_if_finite,
    "ZERO_UNLESS_FINITE": legalise.zero_unless_finite,
}


def legalise_builtin(graph: Graph) -> Graph:
    """Canonical form to builtin operators for LiteRT without a delegate."""
    graph = legalise.expand_gradients(graph)
    graph = rewrite(graph, _RULES)
    graph = combine_biases(graph)
    graph = fuse_bias(graph, dynamic=True)
    graph = fuse_activation(graph)
    graph = rewrite(graph, legalise.PADDING)
    return rewrite(graph, legalise.BIAS)
