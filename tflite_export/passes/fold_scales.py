"""Constant scales of channels, such as BatchNormalization's, become part of the constant kernel in front of them."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, consumers, producers
from tflite_export.passes.rewrite import rewrite

_CHANNEL_AXIS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}  # of the kernel


def fold_scales(graph: Graph) -> Graph:
    """The canonical `graph` with scaled kernels in place of scaled convolutions.

    A convolution that others read as well stays as it is.
    """
    readers, outputs = consumers(graph.ops), set(graph.outputs.values())

    def scale(b: Builder, op: Op) -> Tensor | None:
        made_by = producers(b.ops)
        for y, factor in (op.inputs, op.inputs[::-1]):
            convolution = made_by.get(y)
            if convolution is None or convolution.kind not in _CHANNEL_AXIS or not _is_per_channel(factor, y):
                continue
            x, kernel, bias = convolution.inputs
            if bias is not None or not kernel.is_constant or len(readers.get(y, ())) > 1 or y in outputs:
                continue
            axis = _CHANNEL_AXIS[convolution.kind]
            shape = [-1 if i == axis else 1 for i in range(4)]
            scaled = kernel.data * np.broadcast_to(np.ravel(factor.data), y.shape[3]).reshape(shape)
            kernel = dataclasses.replace(kernel, data=scaled.astype(kernel.dtype))
            return b.op(convolution.kind, (x, kernel, None), y.shape, **convolution.attributes)
        return None

    return rewrite(graph, {"MUL": scale})


def _is_per_channel(factor: Tensor, y: Tensor) -> bool:
    """One constant number for each channel of `y`, or one for all."""
    return factor.is_constant and factor.size in (1, y.shape[3]) and factor.size == (factor.shape or (1,))[-1]
