"""The constant kernels of a float graph, rounded to what int8 can hold."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph, Op, Tensor, substitute
from tflite_export.int8_weights import rounded
from tflite_export.passes.small_constants import as_int8

_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


def with_rounded_kernels(graph: Graph) -> Graph:
    """`graph` with every constant kernel rounded, one scale per output channel; one that int8 holds already stays.

    Raises:
        ValueError: it has no constant kernel.
    """
    kernels = {op.inputs[1]: _axis(op) for op in graph.ops if _axis(op) is not None and op.inputs[1].is_constant}
    if not kernels:
        raise ValueError(
            "frozen='int8': no kernel of the file is frozen, so there is nothing to store in 8 bits. Leave it out, or "
            "train less than method='full'"
        )
    changed = {kernel: _rounded(kernel, axis) for kernel, axis in kernels.items() if as_int8(kernel) is None}
    return graph.replace(ops=substitute(graph.ops, changed))


def _axis(op: Op) -> int | None:
    if op.kind == "BATCH_MATMUL" and len(op.inputs[1].shape) == 2:
        return 0 if op.attributes.get("adj_y") else 1
    return _CHANNEL_AXIS.get(op.kind)


def _rounded(kernel: Tensor, axis: int) -> Tensor:
    axes = tuple(i for i in range(len(kernel.shape)) if i != axis)
    return dataclasses.replace(kernel, data=rounded(kernel.data.reshape(kernel.shape), axes))
