"""Frozen kernels as int8 with a scale for every output channel."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.graph import Graph, Quantization, Tensor, substitute
from tflite_export.micro.forms import CONVOLUTIONS

_STEPS = 127
_ROUNDING = 4 * np.finfo(np.float32).eps


def quantize_kernels(forward: Graph) -> Graph:
    """A forward graph of C operators, whose constant kernels are int8; the backward pass then reads the same ones.

    A channel whose values are whole numbers of steps already, as in a model that was quantised before, keeps them.
    """
    small = {
        op.inputs[1]: as_int8(op.inputs[1], axis=3 if op.kind == "depthwise" else 0)
        for op in forward.ops
        if op.kind in CONVOLUTIONS and op.inputs[1].is_constant
    }
    return forward.replace(ops=substitute(forward.ops, small))


def as_int8(kernel: Tensor, axis: int, least: np.ndarray | float = 0.0) -> Tensor:
    """A float32 constant in steps of a scale for every slice along `axis`, of `least` at least."""
    channels = np.moveaxis(np.asarray(kernel.data, np.float32), axis, 0)
    scale = np.maximum(_scales(channels.reshape(len(channels), -1)), np.asarray(least, np.float32))
    scale = np.where(scale > 0, scale, np.float32(1))
    steps = np.rint(channels / scale.reshape(-1, *[1] * (channels.ndim - 1)))
    data = np.ascontiguousarray(np.moveaxis(steps, 0, axis).astype(np.int8))
    quantization = Quantization(tuple(map(float, scale)), (0,) * len(scale), axis)
    return dataclasses.replace(kernel, dtype="int8", data=data, quantization=quantization)


def _scales(channels: np.ndarray) -> np.ndarray:
    """float32 [n]: the size of a step for each row of `channels` [n, values], 0 of a row of zeros."""
    largest = np.abs(channels).max(axis=1)
    scale = (largest / np.float32(_STEPS)).astype(np.float32)
    left = np.flatnonzero(largest)
    for count in range(_STEPS, 0, -1):  # the largest value of a channel may have become fewer steps than 127
        tried = (largest[left] / np.float32(count)).astype(np.float32)
        steps = channels[left] / tried[:, None]
        whole = (np.abs(steps - np.rint(steps)) <= _ROUNDING * np.abs(steps)).all(axis=1)
        scale[left[whole]] = tried[whole]
        left = left[~whole]
        if not len(left):
            break
    return scale


def dequantised(kernel: Tensor) -> Tensor:
    """The float32 constant that an int8 one stands for."""
    shape = [1] * len(kernel.shape)
    shape[kernel.quantization.axis] = -1
    scale = np.asarray(kernel.quantization.scale, np.float32).reshape(shape)
    return dataclasses.replace(kernel, dtype="float32", data=kernel.data * scale, quantization=None)
