"""Whether the rows of a batch go through the network one by one.

A micro-batch stands for a part of a batch only where no sample sees another. Followed from the inputs on, axis 0 of
every tensor must be the batch, or the batch and further axes of the same sample, the batch in front. What cannot be
proved is refused.
"""

from __future__ import annotations

import numpy as np

from tflite_export.graph import Graph, Op, Tensor


def check_batch_independence(forward: Graph) -> None:
    """Proves it of a canonical forward graph of two rows or more: in a batch of one, nothing can be told apart.

    Raises:
        ValueError: an operator mixes samples, or it is not known that it does not; names the layer.
    """
    batched = set(forward.inputs.values())
    batch_size = next(iter(batched)).shape[0]
    for op in forward.ops:
        if not batched.intersection(op.inputs):
            continue
        proof = _PROOFS.get(op.kind)
        if proof is None or not proof(op, batched, batch_size):
            shapes = " and ".join(str(list(tensor.shape)) for tensor in op.inputs if tensor in batched)
            raise ValueError(
                f"layer {op.origin!r}: {op.kind} of {shapes} may mix the samples of a batch (axis 0), and then a step "
                "over micro-batches is not the step over their batch. Rewrite the layer so that it keeps axis 0, or "
                "export without micro_batch (clip_norm works without it)"
            )
        batched.update(op.outputs)


def _elementwise(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """The batch stands at axis 0 of the output, and what does not depend on it is the same for all rows."""
    shape = op.outputs[0].shape
    return all(
        len(x.shape) == len(shape) and x.shape[0] == shape[0] if x in batched else _same_for_all_rows(x, len(shape))
        for x in op.inputs
    )


def _same_for_all_rows(x: Tensor, rank: int) -> bool:
    if len(x.shape) < rank or x.shape[0] == 1:
        return True
    return x.is_constant and bool((x.data == x.data[:1]).all())


def _image(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """Every image with the same kernel."""
    return not batched.intersection(op.inputs[1:])


def _transpose_convolution(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    return op.inputs[1] not in batched


def _along_axes(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """Works along axes of which axis 0 is none."""
    x = next(tensor for tensor in op.inputs if tensor in batched)
    axes = _AXES[op.kind](op)
    rank = len(op.outputs[0].shape if op.kind == "PACK" else x.shape)
    others = (t for t in op.inputs if t not in batched) if op.kind in ("CONCATENATION", "PACK") else ()
    return all(axis % rank for axis in np.ravel(axes)) and all(_same_for_all_rows(t, len(x.shape)) for t in others)


def _reshape(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """In row-major order every sample stays in one piece."""
    shape = op.outputs[0].shape
    return bool(shape) and shape[0] % batch_size == 0


def _transpose(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    return op.inputs[1].data[0] == 0


def _pad(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    return not op.inputs[1].data[0].any()


def _slice(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """All rows; with strides, in their order."""
    drops = any(op.attributes.get(mask, 0) & 1 for mask in ("shrink_axis_mask", "new_axis_mask"))
    in_order = op.kind == "SLICE" or op.inputs[3].data[0] == 1
    return not drops and in_order and op.outputs[0].shape[0] == op.inputs[0].shape[0]


def _repeat(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    x, (output,) = op.inputs[0], op.outputs
    return len(x.shape) == len(output.shape) and x.shape[0] == output.shape[0]


def _matmul(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """Rows times a matrix that is the same for all of them."""
    return op.inputs[1] not in batched and not op.attributes["adj_x"]


def _batch_matmul(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """A product for every sample."""
    return len(op.outputs[0].shape) > 2 and _elementwise(op, batched, batch_size)


def _gather(op: Op, batched: set[Tensor], batch_size: int) -> bool:
    """The same places of every sample, or rows of a table by every sample's own indices."""
    table, indices = op.inputs
    axis = op.attributes.get("axis", 0) % len(table.shape)
    if op.attributes.get("batch_dims", 0) or (table in batched) == (indices in batched):
        return False
    return axis != 0 if table in batched else axis == 0


_AXES = {
    **dict.fromkeys(("SOFTMAX", "LOG_SOFTMAX", "L2_NORMALIZATION"), lambda op: -1),
    **dict.fromkeys(
        ("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX", "CUMSUM", "REVERSE_V2"),
        lambda op: op.inputs[1].data,
    ),
    **dict.fromkeys(("CONCATENATION", "PACK", "UNPACK"), lambda op: op.attributes["axis"]),
    "SPLIT": lambda op: op.inputs[0].data,
    "SPLIT_V": lambda op: op.inputs[2].data,
}
_PROOFS = {
    **dict.fromkeys(
        "ADD SUB MUL DIV POW MAXIMUM MINIMUM SQUARED_DIFFERENCE PRELU EQUAL NOT_EQUAL GREATER GREATER_EQUAL LESS "
        "LESS_EQUAL LOGICAL_AND LOGICAL_OR LOGICAL_NOT SELECT SELECT_V2 RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 TANH "
        "LOGISTIC HARD_SWISH HARD_SWISH_ONE_BIT SWISH SWISH_ONE_BIT SOFTPLUS SELU ELU GELU LEAKY_RELU "
        "EXP LOG SQRT RSQRT SQUARE NEG ABS SIGN FLOOR CEIL ROUND SIN COS CAST".split(),
        _elementwise,
    ),
    **dict.fromkeys(
        "CONV_2D DEPTHWISE_CONV_2D AVERAGE_POOL_2D MAX_POOL_2D RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR DEPTH_TO_SPACE "
        "SPACE_TO_DEPTH".split(),
        _image,
    ),
    **dict.fromkeys(_AXES, _along_axes),
    **dict.fromkeys(("PAD", "PADV2", "MIRROR_PAD"), _pad),
    **dict.fromkeys(("SLICE", "STRIDED_SLICE"), _slice),
    **dict.fromkeys(("BROADCAST", "BROADCAST_TO", "TILE"), _repeat),
    "BATCH_MATMUL": _batch_matmul,
    "GATHER": _gather,
    "MATMUL": _matmul,
    "RESHAPE": _reshape,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_convolution,
}
