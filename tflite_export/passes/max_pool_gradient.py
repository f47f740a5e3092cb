"""The gradient of max pooling, from slices: no index is stored and no runtime needs a special operator.

The input is split into the s x s phases of its stride (SPACE_TO_DEPTH). Every offset of the window is then a shifted
slice of one phase, as large as the output; where it equals the maximum, and no earlier offset did, it takes the
gradient. This is TensorFlow's choice among equal maxima.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from tflite_export.autodiff import NotDifferentiable
from tflite_export.builder import Builder, constant
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Op, Tensor

_HUGE = 1e30  # turns any difference between two floats into at least 1, but for differences below 1e-30


def max_pool(b: Builder, op: Op) -> Tensor:
    """MAX_POOL_2D_GRADIENT (x, y, gradient)."""
    x, y, gradient = op.inputs
    attributes = op.attributes
    stride, window = attributes["stride_h"], (attributes["filter_height"], attributes["filter_width"])
    if stride != attributes["stride_w"]:
        raise NotDifferentiable(f"layer {op.origin!r}: max pooling with different strides in height and width")
    padding = explicit_padding(attributes["padding"], x.shape[1:3], window, (stride, stride))
    n, rows, columns, channels = y.shape
    lengths = [  # of a phase: all of x, and all that a window reaches
        max(math.ceil((padding[i][0] + x.shape[1 + i]) / stride), y.shape[1 + i] + (window[i] - 1) // stride)
        for i in range(2)
    ]
    behind = [lengths[i] * stride - padding[i][0] - x.shape[1 + i] for i in range(2)]
    padded = b.pad(x, [(0, 0), (padding[0][0], behind[0]), (padding[1][0], behind[1]), (0, 0)])
    phases = _space_to_depth(b, padded, stride)

    parts: dict[tuple[int, int], Tensor] = {}
    taken = None
    for i, j in itertools.product(range(window[0]), range(window[1])):
        phase = (i % stride, j % stride)
        begin = (0, i // stride, j // stride, (phase[0] * stride + phase[1]) * channels)
        candidate = b.slice(phases, begin, (n, rows, columns, channels))
        hit = _equal(b, candidate, y)
        inside = _inside(i, rows, padding[0][0], x.shape[1], stride)[:, None] & _inside(
            j, columns, padding[1][0], x.shape[2], stride
        )
        if not inside.all():
            hit = b.mul(hit, constant(inside.astype(np.float32)[None, :, :, None]))
        if taken is not None:
            hit = b.mul(hit, b.sub(constant(1), taken))
        taken = hit if taken is None else b.add(taken, hit)
        part = b.mul(hit, gradient)
        shift = [
            (0, 0),
            (i // stride, lengths[0] - rows - i // stride),
            (j // stride, lengths[1] - columns - j // stride),
            (0, 0),
        ]
        part = b.pad(part, shift)
        parts[phase] = part if phase not in parts else b.add(parts[phase], part)

    nothing = constant(np.zeros((n, *lengths, channels)))
    ordered = [parts.get(phase, nothing) for phase in itertools.product(range(stride), repeat=2)]
    result = ordered[0] if stride == 1 else b.depth_to_space(b.concatenate(ordered, 3), stride)
    return b.slice(result, (0, padding[0][0], padding[1][0], 0), x.shape)


def _equal(b: Builder, a: Tensor, maximum: Tensor) -> Tensor:
    """1.0 where `a` equals `maximum`, else 0.0; arithmetic alone, which every runtime and delegate takes."""
    distance = b.mul(b.unary("ABS", b.sub(maximum, a)), constant(_HUGE))
    return b.sub(constant(1), b.minimum(distance, constant(1)))


def _inside(offset: int, outputs: int, pad: int, size: int, stride: int) -> np.ndarray:
    """Where this offset of the window lies in the image and not in the padding."""
    position = np.arange(outputs) * stride + offset - pad
    return (position >= 0) & (position < size)


def _space_to_depth(b: Builder, x: Tensor, block: int) -> Tensor:
    if block == 1:
        return x
    n, h, w, c = x.shape
    return b.op("SPACE_TO_DEPTH", (x,), (n, h // block, w // block, c * block**2), block_size=block)
