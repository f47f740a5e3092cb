"""The form that LiteRT's builtin kernels do best: dynamic biases fused into convolutions, bool masks."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes import dynamic_kernels, kernel_gradients, legalise
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.fusion import combine_biases, fuse_activation, fuse_bias
from tflite_export.passes.rewrite import rewrite


def _pointwise_gradient(b: Builder, op: Op) -> Tensor | None:
    """A 1x1 convolution whose kernel is turned round while the step runs; a second copy would cost as much memory as
    all that the step adds to inference."""
    if not legalise.is_pointwise_gradient(op):
        return None
    gradient, kernel = op.inputs
    out, _, _, inputs = kernel.shape
    return b.conv_2d(gradient, b.op("SWAPPED_KERNEL", (kernel,), (inputs, 1, 1, out)))


def _transpose(b: Builder, op: Op) -> Tensor:
    return b.transpose(op.inputs[0], (3, 1, 2, 0))


_RULES = {
    **legalise.ACTIVATIONS,
    "ALL_FINITE": legalise.all_finite,
    "BROADCAST": legalise.broadcast,
    "ACTIVATION_MASK": legalise.mask_of_output,
    "POSITIVE_MASK": legalise.mask_of_positive,
    "EQUAL_MASK": legalise.mask_of_equal,
    "APPLY_MASK": legalise.select_by_mask,
    "CHECKED_INPUT": legalise.checked_input,
    "UPDATE_IF": legalise.update_if,
    "MATMUL": legalise.matmul_by_fully_connected,
    "ONE_IF_FINITE": legalise.one_if_finite,
    "ZERO_UNLESS_FINITE": legalise.zero_unless_finite,
}


def legalise_builtin(graph: Graph) -> Graph:
    """Canonical form to builtin operators for LiteRT without a delegate."""
    graph = rewrite(graph, {"CONV_2D_INPUT_GRADIENT": _pointwise_gradient})
    graph = rewrite(graph, {"CONV_2D_KERNEL_GRADIENT": kernel_gradients.by_convolution})
    graph = legalise.expand_gradients(graph)
    graph = rewrite(graph, {"CONV_2D": dynamic_kernels.by_group})
    graph = builtin_operators(graph)
    graph = fold_constants(graph)
    return rewrite(graph, {"SWAPPED_KERNEL": _transpose})


def builtin_operators(graph: Graph) -> Graph:
    """Canonical form to builtin operators, all that frozen kernels alone decide computed at compile time."""
    graph = legalise.expand_gradients(graph)
    graph = rewrite(graph, _RULES)
    graph = combine_biases(graph)
    graph = fuse_bias(graph, dynamic=True)
    graph = fuse_activation(graph)
    graph = rewrite(graph, legalise.PADDING)
    return rewrite(graph, legalise.BIAS)
