"""The form that XNNPACK takes as one partition.

No comparison, SELECT or CAST may stand between forward and backward: each would split the graph, keep every mask in
float and pack the weights of each part. So masks are int8 by way of QUANTIZE, and trainable biases stay additions.
"""

from __future__ import annotations

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes import legalise
from tflite_export.passes.fusion import fuse_activation, fuse_bias
from tflite_export.passes.rewrite import rewrite

# Large enough to lift any activation that matters above 1, small enough that 255 * 9 * _GAIN stays an int32: a
# kernel that does not clamp before converting would overflow.
_GAIN = float(2**19)


def _mask(b: Builder, op: Op) -> Tensor:
    """An int8 mask, {-128, 127} for {0, 1}, by saturation: y > 0 and, for RELU6, y < 6."""
    (y,) = op.inputs
    if op.attributes["activation"] == "RELU6":
        y = b.mul(y, b.sub(constant(6), y))
    else:
        y = b.minimum(y, constant(1))
    return b.quantize(b.mul(y, constant(_GAIN)), scale=1 / 255, zero_point=-128)


def _apply_mask(b: Builder, op: Op) -> Tensor:
    gradient, mask = op.inputs
    return b.mul(gradient, b.dequantize(mask))


_RULES = {
    **legalise.COMMON,
    "ACTIVATION_MASK": _mask,
    "APPLY_MASK": _apply_mask,
    "MATMUL": legalise.matmul_by_batch_matmul,
}


def legalise_xnnpack(graph: Graph) -> Graph:
    """Canonical form to builtin operators for LiteRT with the XNNPACK delegate."""
    graph = rewrite(graph, _RULES)
    graph = rewrite(graph, {"BROADCAST": legalise.broadcast})
    graph = fuse_bias(graph, dynamic=False)
    graph = fuse_activation(graph)
    graph = rewrite(graph, legalise.PADDING)
    return rewrite(graph, legalise.BIAS)
