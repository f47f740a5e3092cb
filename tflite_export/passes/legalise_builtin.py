"""The form that LiteRT's builtin kernels do best: dynamic biases fused into convolutions, bool masks."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes import dynamic_kernels, input_gradients, kernel_gradients, legalise
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.fusion import combine_biases, fuse_activation, fuse_bias
from tflite_export.passes.merge_factors import merge_factors
from tflite_export.passes.merge_moves import merge_moves
from tflite_export.passes.pointwise_products import products_as_convolutions, transposed_products
from tflite_export.passes.rewrite import rewrite

_TURNED_AT_ONCE = 1 << 17  # bytes


def turn_kernels(graph: Graph, at_once: int = _TURNED_AT_ONCE) -> Graph:
    """The gradient of a pointwise convolution as one whose kernel is turned round while the step runs.

    A second copy would cost as much memory as all that the step adds to inference. A kernel of more than `at_once`
    bytes that is large beside the maps is turned in parts.
    """
    return rewrite(graph, {"CONV_2D_INPUT_GRADIENT": lambda b, op: _pointwise_gradient(b, op, at_once)})


def transpose_turned(graph: Graph) -> Graph:
    """The kernels of `turn_kernels` as builtin operators, once no constant is folded any more."""
    return rewrite(graph, {"SWAPPED_KERNEL": _transpose})


def _pointwise_gradient(b: Builder, op: Op, at_once: int) -> Tensor | None:
    if not legalise.is_pointwise_gradient(op):
        return None
    gradient, kernel = op.inputs
    out, _, _, inputs = kernel.shape
    at_once = max(at_once, gradient.nbytes + op.outputs[0].nbytes)
    size = -(-inputs // -(-kernel.nbytes // at_once))
    parts = []
    for begin in range(0, inputs, size):
        end = min(begin + size, inputs)
        turned = b.op("SWAPPED_KERNEL", (kernel,), (end - begin, 1, 1, out), begin=begin)
        parts.append(b.conv_2d(gradient, turned))
    return parts[0] if len(parts) == 1 else b.concatenate(parts, 3)


def _transpose(b: Builder, op: Op) -> Tensor:
    (kernel,), turned = op.inputs, op.outputs[0]
    begin, size = (0, 0, 0, op.attributes["begin"]), (kernel.shape[0], 1, 1, turned.shape[0])
    return b.transpose(b.slice(kernel, begin, size), (3, 1, 2, 0))


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
    graph = turn_kernels(graph)
    graph = rewrite(graph, {"CONV_2D_KERNEL_GRADIENT": kernel_gradients.by_convolution})
    graph = rewrite(graph, {"CONV_2D_INPUT_GRADIENT": input_gradients.of_trained_kernel})
    graph = rewrite(graph, {"AVERAGE_POOL_2D_GRADIENT": input_gradients.average_pool_by_resizing})
    graph = legalise.expand_gradients(graph)
    graph = rewrite(graph, {"CONV_2D": dynamic_kernels.by_group})
    graph = _fused(_fewer(_one_by_one(graph)))
    return transpose_turned(fold_constants(graph))


def builtin_operators(graph: Graph) -> Graph:
    """Canonical form to builtin operators, all that frozen kernels alone decide computed at compile time."""
    return _fused(_one_by_one(graph))


def _one_by_one(graph: Graph) -> Graph:
    return rewrite(legalise.expand_gradients(graph), _RULES)


def _fewer(graph: Graph) -> Graph:
    """The same in fewer operators, of which LiteRT keeps about a kilobyte each."""
    graph = merge_moves(products_as_convolutions(graph))
    return merge_factors(transposed_products(graph))


def _fused(graph: Graph) -> Graph:
    graph = combine_biases(graph)
    graph = fuse_bias(graph, dynamic=True)
    graph = fuse_activation(graph)
    graph = rewrite(graph, legalise.PADDING)
    return rewrite(graph, legalise.BIAS)
