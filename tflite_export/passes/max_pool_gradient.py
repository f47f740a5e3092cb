"""The gradient of max pooling, from slices: no index is stored and no runtime needs a special operator.

Each tap of the window is a slice as large as the output; where it equals the maximum, and no earlier tap did, it takes
the gradient. This is TensorFlow's choice among equal maxima.
"""

from __future__ import annotations

import itertools

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor
from tflite_export.passes.taps import Taps
from tflite_export.steps import equal


def max_pool(b: Builder, op: Op) -> Tensor:
    """MAX_POOL_2D_GRADIENT (x, y, gradient)."""
    x, y, gradient = op.inputs
    window = (op.attributes["filter_height"], op.attributes["filter_width"])
    taps = Taps(b, op, x, window, y.shape[1:3])

    parts: dict[tuple[int, int], Tensor] = {}  # by phase of the stride
    taken = None
    for row, column in itertools.product(*map(range, window)):
        hit = equal(b, taps.tap(row, column), y)
        inside = taps.inside(row, column)
        if not inside.all():
            hit = b.mul(hit, constant(inside.astype(np.float32)[None, :, :, None]))
        if taken is not None:
            hit = b.mul(hit, b.sub(constant(1), taken))
        taken = hit if taken is None else b.add(taken, hit)
        phase, begin = taps.offset(row, column)
        around = [(begin[i], taps.lengths[i] - y.shape[1 + i] - begin[i]) for i in range(2)]
        part = b.pad(b.mul(hit, gradient), [(0, 0), *around, (0, 0)])
        parts[phase] = part if phase not in parts else b.add(parts[phase], part)

    nothing = constant(np.zeros((x.shape[0], *taps.lengths, x.shape[3])))
    ordered = [parts.get(phase, nothing) for phase in itertools.product(*map(range, taps.stride))]
    result = b.depth_to_space(b.concatenate(ordered, 3) if len(ordered) > 1 else ordered[0], taps.stride)
    return b.slice(result, (0, taps.padding[0][0], taps.padding[1][0], 0), x.shape)
