"""The form that XNNPACK takes as one partition.

No comparison, SELECT or CAST may stand between forward and backward: each would split the graph, keep every mask in
float and pack the weights of each part. So masks are int8 by way of QUANTIZE, and trainable biases stay additions.
"""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder, constant
from tflite_export.graph import LARGEST_INPUT, Graph, Op, Tensor
from tflite_export.passes import dynamic_kernels, legalise
from tflite_export.passes.choices import gather_by_slices
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.fusion import fuse_activation, fuse_bias
from tflite_export.passes.rewrite import rewrite
from tflite_export.steps import equal, sign

_MOST_CONCATENATED = 5  # VisitConcatenationNode in xnnpack_delegate.cc
_HUGE = 1e30  # lifts any activation from 1e-30 on to 1; the product of two activations of RELU6 stays below infinity


def _mask(b: Builder, op: Op) -> Tensor:
    """An int8 mask, {0, 1}, by saturation: y > 0 and, for RELU6, y < 6."""
    (y,) = op.inputs
    if op.attributes["activation"] == "RELU6":
        y = b.mul(y, b.sub(constant(6), y))
    saturated = b.op("MUL", (y, constant(_HUGE)), y.shape, fused_activation_function="RELU_N1_TO_1")
    return b.quantize(saturated, scale=1, zero_point=0)


def _mask_of_positive(b: Builder, op: Op) -> Tensor:
    """int8 ends at its zero point: what is negative becomes 0 too."""
    return b.quantize(sign(b, *op.inputs), scale=1, zero_point=-128)


def _mask_of_equal(b: Builder, op: Op) -> Tensor:
    return b.quantize(equal(b, *op.inputs), scale=1, zero_point=0)


def _relu_0_to_1(b: Builder, op: Op) -> Tensor:
    return b.minimum(b.unary("RELU", *op.inputs), constant(1))


def _log_softmax(b: Builder, op: Op) -> Tensor:
    (x,) = op.inputs
    last = [len(x.shape) - 1]
    shifted = b.sub(x, b.reduce("REDUCE_MAX", x, last, keep_dims=True))
    return b.sub(shifted, b.unary("LOG", b.sum(b.unary("EXP", shifted), last, keep_dims=True)))


def _apply_mask(b: Builder, op: Op) -> Tensor:
    gradient, mask = op.inputs
    return b.mul(gradient, b.dequantize(mask))


def _one_if_finite(b: Builder, op: Op) -> Tensor:
    """Without a comparison: 2 - 1 for a finite x.

    int8 has no NaN, so whatever went through QUANTIZE is finite; and from a NaN both terms come out equal, whatever
    the processor makes of it.
    """
    nan = b.zero_or_nan(op.inputs)
    two, one = (b.dequantize(b.quantize(b.add(nan, constant(n)), scale=1, zero_point=0)) for n in (2, 1))
    return b.sub(two, one)


def _zero_unless_finite(b: Builder, op: Op) -> Tensor:
    """x goes through as the sum of four int8 values, each holding what the coarser ones left: exact to 2.4e-10."""
    x, *y = op.inputs
    if not op.attributes["bounded"]:
        return legalise.zero_unless_finite(b, op)
    rest, scale, parts = x, 1 / 127, []
    for _ in range(4):
        parts.append(b.dequantize(b.quantize(rest, scale, zero_point=0)))
        rest, scale = b.sub(rest, parts[-1]), scale / 254
    total = parts[3]
    for part in parts[2::-1]:
        total = b.add(total, part)
    return b.mul(total, b.op("ONE_IF_FINITE", y, (1,)))


def _finite_inputs(graph: Graph) -> Graph:
    """Lets no NaN, infinity or huge number into the network, instead of selecting updates away behind it.

    A step on such an input must change nothing. The gradient at the logits is zero then, and zero times whatever is in
    the network stays zero as long as that is finite. The checks themselves still see the input as it came. Not guarded
    is a network whose own weights have grown so far that a finite input overflows in it: its kernels' updates may be
    NaN then. The gate on finite gradients of ``apply`` holds there too.
    """
    if not any(op.kind == "UPDATE_IF" for op in graph.ops):
        return graph
    b, safe = Builder(), {}
    for x in dict.fromkeys(op.inputs[0] for op in graph.ops if op.kind == "CHECKED_INPUT"):
        above, below = b.compare("GREATER", x, constant(-LARGEST_INPUT)), b.compare("LESS", x, constant(LARGEST_INPUT))
        safe[x] = b.select(b.binary("LOGICAL_AND", above, below), x, constant(0))

    def exchanged(op: Op) -> Op:
        if op.kind == "CHECKED_INPUT":
            return op
        return dataclasses.replace(op, inputs=tuple(safe.get(t, t) for t in op.inputs))

    return graph.replace(ops=(*b.ops, *map(exchanged, graph.ops)))


def _update(b: Builder, op: Op) -> Tensor:
    return op.inputs[1]


def _pointwise_gradient(b: Builder, op: Op) -> Tensor | None:
    """A matrix product with the very bytes of the forward kernel: the file and its mapping hold them once."""
    if not legalise.is_pointwise_gradient(op):
        return None
    (gradient, kernel), x = op.inputs, op.outputs[0]
    matrix = dataclasses.replace(kernel, shape=(kernel.shape[0], x.shape[3]), data=kernel.data.reshape(-1, x.shape[3]))
    rows = b.reshape(gradient, (gradient.size // kernel.shape[0], kernel.shape[0]))
    return b.reshape(b.batch_matmul(rows, matrix), x.shape)


_RULES = {
    **legalise.ACTIVATIONS,
    "ALL_FINITE": legalise.all_finite,
    "BROADCAST": legalise.broadcast,
    "ACTIVATION_MASK": _mask,
    "CONCATENATION": legalise.concatenate_in_steps(_MOST_CONCATENATED),
    "POSITIVE_MASK": _mask_of_positive,
    "EQUAL_MASK": _mask_of_equal,
    "LOG_SOFTMAX": _log_softmax,
    "RELU_0_TO_1": _relu_0_to_1,
    "APPLY_MASK": _apply_mask,
    "CHECKED_INPUT": legalise.checked_input,
    "UPDATE_IF": _update,
    "MATMUL": legalise.matmul_by_batch_matmul,
    "ONE_IF_FINITE": _one_if_finite,
}


def legalise_xnnpack(graph: Graph) -> Graph:
    """Canonical form to builtin operators for LiteRT with the XNNPACK delegate."""
    graph = _finite_inputs(graph)
    graph = rewrite(graph, {"CONV_2D_INPUT_GRADIENT": _pointwise_gradient})
    graph = rewrite(graph, {"TRANSPOSE_CONV": dynamic_kernels.by_phases})
    graph = rewrite(graph, {"GATHER": gather_by_slices})
    graph = legalise.expand_gradients(graph)
    graph = rewrite(graph, {"CONV_2D": dynamic_kernels.by_matrices})
    graph = rewrite(graph, {"ZERO_UNLESS_FINITE": _zero_unless_finite})
    graph = rewrite(graph, _RULES)
    graph = fuse_bias(graph, dynamic=False)
    graph = fuse_activation(graph)
    graph = rewrite(graph, legalise.PADDING)
    return fold_constants(rewrite(graph, legalise.BIAS))
