"""How many bytes of workspace a kernel needs: what its ``..._workspace_bytes`` returns, rounded up."""

from __future__ import annotations

import math

from tflite_export.graph import Op
from tflite_export.micro.params import is_pointwise, kernel_shape

_TAP = 8  # bytes of a tinytl_internal_tap
_LANES = 8 * 4  # bytes of one row of a panel: TINYTL_PANEL_WIDTH, TINYTL_DEPTHWISE_BLOCK
_PANEL_ROWS = 64  # TINYTL_PANEL_ROWS
_DEPTHWISE_BLOCKS = 4  # TINYTL_DEPTHWISE_BLOCKS


def workspace_bytes(op: Op) -> int:
    """Of the kernel that runs `op`; of a region of rows, all of its buffers and its largest workspace."""
    if op.kind == "rows":
        plan = op.attributes["plan"]
        return plan.workspace_bytes + max(map(workspace_bytes, plan.ops))
    if op.kind in ("conv", "conv_input_gradient"):
        taps = 1 if is_pointwise(op) else math.prod(kernel_shape(op)[1:3])
        return taps * _TAP + max(_PANEL_ROWS, taps) * _LANES
    if op.kind in ("depthwise", "depthwise_input_gradient"):
        taps = math.prod(kernel_shape(op)[1:3])
        blocks = min(-(-op.inputs[0].shape[-1] // 8), _DEPTHWISE_BLOCKS)
        return taps * (_TAP + _LANES * blocks)
    return 0
