"""The form for TFLite Micro: the builtin form, within the limits of its kernels."""

from __future__ import annotations

import math

from tflite_export.builder import Builder, constant
from tflite_export.graph import CUSTOM, Graph, Op, Tensor
from tflite_export.passes import legalise
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.legalise_builtin import builtin_operators, transpose_turned, turn_kernels
from tflite_export.passes.rewrite import rewrite

_MOST_CONCATENATED = 10  # kMaxInputNum in TFLM's concatenation.cc

# Every operator that TFLM's Python wheel registers (python_ops_resolver.cc) and a graph of ours may hold.
OPERATORS = frozenset(
    "ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS "
    "BROADCAST_TO CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV "
    "DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED "
    "GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU LESS LESS_EQUAL LOG "
    "LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG "
    "NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU RELU6 RESHAPE "
    "RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX "
    "SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM TANH "
    "TRANSPOSE TRANSPOSE_CONV UNPACK ZEROS_LIKE".split()
)


def legalise_micro(graph: Graph, turned_at_once: int | None = None) -> Graph:
    """Canonical form to the builtin operators that TFLite Micro has.

    Flash is larger than memory, so the backward pass has its own, turned copy of a pointwise kernel; unless
    `turned_at_once` says how many bytes of one are turned at run time.
    """
    if turned_at_once is not None:
        graph = turn_kernels(graph, turned_at_once)
    return transpose_turned(fold_constants(rewrite(builtin_operators(graph), _RULES)))


def joined_in_steps(graph: Graph) -> Graph:
    """`graph` without a CONCATENATION of more operands than TFLite Micro takes."""
    return rewrite(graph, {"CONCATENATION": legalise.concatenate_in_steps(_MOST_CONCATENATED)})


def check_operators(graph: Graph) -> None:
    """Raises ValueError, with the layer's name, for an operator that TFLite Micro does not have."""
    for op in graph.ops:
        if op.kind not in OPERATORS and op.kind not in CUSTOM:
            raise ValueError(
                f"layer {op.origin!r}: TFLite Micro has no operator {op.kind}; replace the layer by one that it has "
                "(for example GELU with approximate=True, or ReLU, for GELU), or export with runtime='litert'"
            )


def _sum_in_float(b: Builder, op: Op) -> Tensor | None:
    """EvalSumHelper in TFLM's reduce_common.cc knows no int32. Counts are exact in float32 up to 2^24."""
    x, axes = op.inputs
    if x.dtype != "int32":
        return None
    total = b.op("SUM", (b.cast(x, "float32"), axes), op.outputs[0].shape, **op.attributes)
    return b.cast(total, "int32")


def _transpose_in_front(b: Builder, op: Op) -> Tensor | None:
    """BATCH_MATMUL multiplies x by the transpose of y; whatever comes otherwise is turned round in a buffer that it
    keeps for good (AllocInitTransposeTensorFromTfLiteTensor in TFLM's batch_matmul.cc). A TRANSPOSE costs it only for
    the time being, and nothing for a constant."""
    x, y = op.inputs
    turn_x, turn_y = op.attributes["adj_x"], not op.attributes["adj_y"]
    if not (turn_x or turn_y):
        return None
    return b.batch_matmul(_turned(b, x) if turn_x else x, _turned(b, y) if turn_y else y, adj_y=True)


def _turned(b: Builder, x: Tensor) -> Tensor:
    *front, rows, columns = range(len(x.shape))
    return b.transpose(x, (*front, columns, rows))


def _select_v2(b: Builder, op: Op) -> Tensor | None:
    """TFLM has SELECT_V2 alone, which means the same where the condition does not pick rows."""
    condition, x, _ = op.inputs
    return b.op("SELECT_V2", op.inputs, op.outputs[0].shape, x.dtype) if condition.shape == x.shape else None


def _clip(low: float):
    """TFLM has these two inside other operators only."""
    return lambda b, op: b.maximum(b.minimum(op.inputs[0], constant(1)), constant(low))


def _gelu(b: Builder, op: Op) -> Tensor | None:
    """TFLM has no GELU; the approximation is made of operators that it has."""
    if not op.attributes.get("approximate", False):
        return None
    (x,) = op.inputs
    c = math.sqrt(2 / math.pi)
    t = b.unary("TANH", b.mul(x, b.add(b.scale(b.mul(x, x), 0.044715 * c), constant(c))))
    return b.mul(b.scale(x, 0.5), b.add(t, constant(1)))


_RULES = {
    "GELU": _gelu,
    "RELU_0_TO_1": _clip(0),
    "RELU_N1_TO_1": _clip(-1),
    "BATCH_MATMUL": _transpose_in_front,
    "CONCATENATION": legalise.concatenate_in_steps(_MOST_CONCATENATED),
    "SELECT": _select_v2,
    "SUM": _sum_in_float,
}
