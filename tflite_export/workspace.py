"""Bytes that kernels ask of the arena while they run, beside their operands.

Sources: the `Prepare` functions of LiteRT 2.3's conv.cc, reduce.cc and batch_matmul.cc for float32 (and for bool and
integer reductions), and of TFLite Micro's reduce_common.cc and mirror_pad.cc. What kernels put elsewhere is not here:
on LiteRT's heap TRANSPOSE_CONV's column matrix and transposed kernel, and everything that hybrid kernels (float
activations, int8 kernel) need; at the tail of TFLM's arena the operands that BATCH_MATMUL transposes.
"""

from __future__ import annotations

import numpy as np

from tflite_export.graph import CUSTOM, Op

_ACCUMULATOR = {"float32": 4, "int32": 8, "int64": 8}  # bytes per element of SUM, MEAN and REDUCE_PROD
_ACCUMULATING = ("SUM", "MEAN", "REDUCE_PROD")
_REDUCING = (*_ACCUMULATING, "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL")


def litert_workspace(op: Op) -> tuple[int, ...]:
    """Sizes in bytes of the temporaries of `op`, empty ones left out."""
    if op.kind == "CONV_2D":
        sizes = _convolution(op)
    elif op.kind in _REDUCING:
        sizes = _reduction(op)
    elif op.kind == "BATCH_MATMUL":
        sizes = tuple(t.nbytes for i, t in enumerate(op.inputs) if i == 0 or not t.is_constant)
    else:
        sizes = ()
    return tuple(size for size in sizes if size)


def micro_workspace(op: Op) -> tuple[int, ...]:
    """The same for TFLite Micro, float32: indices into the operand, and what our custom operators ask for."""
    if op.kind in CUSTOM:
        from tflite_export.micro.workspace import custom_workspace_bytes  # which itself builds on this package

        size = custom_workspace_bytes(op)
        return (size,) if size else ()
    rank = len(op.inputs[0].shape) if op.inputs and op.inputs[0] is not None else 0
    if op.kind in _REDUCING:
        return 4 * rank, 4 * op.inputs[1].size
    return (4 * rank, 4 * rank) if op.kind == "MIRROR_PAD" else ()


def _convolution(op: Op) -> tuple[int, ...]:
    """im2col, unless the kernel is 1x1 and steps over every pixel."""
    kernel, (output,) = op.inputs[1], op.outputs
    steps = (op.attributes.get(name, 1) for name in ("stride_h", "stride_w", "dilation_h_factor", "dilation_w_factor"))
    if kernel.shape[1:3] == (1, 1) and all(step == 1 for step in steps):
        return ()
    columns = int(np.prod(output.shape[:3])) * int(np.prod(kernel.shape[1:]))
    return (columns * np.dtype(op.inputs[0].dtype).itemsize,)


def _reduction(op: Op) -> tuple[int, ...]:
    """An index into the operand, the resolved axes, and the sums."""
    x, axes = op.inputs
    sums = op.outputs[0].size * _ACCUMULATOR.get(x.dtype, 4) if op.kind in _ACCUMULATING else 0
    return 4 * len(x.shape), 4 * axes.size, sums
