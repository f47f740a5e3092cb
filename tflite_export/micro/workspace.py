"""How many bytes of workspace a kernel needs: what its ``..._workspace_bytes`` or
``..._workspace_bytes_s8`` returns."""

from __future__ import annotations

import functools
import math
import pathlib
import re

from tflite_export.graph import Op
from tflite_export.micro.forms import image
from tflite_export.micro.params import is_pointwise, kernel_shape

_INTERNAL = pathlib.Path(__file__).parent / "src" / "internal"
_TAP = 8  # bytes of a tinytl_internal_tap
_QUAD = 32  # bytes of four input channels of four output channels, widened
_CUSTOM_LAYERS = [f"TINYTL_{kind}{of}" for kind in ("CONV_2D", "DEPTHWISE_CONV_2D") for of in ("", "_INPUT_GRADIENT")]


def workspace_bytes(op: Op) -> int:
    """Of the kernel that runs `op`; of a region of rows, all of its buffers and its largest workspace."""
    if op.kind == "rows":
        plan = op.attributes["plan"]
        return plan.workspace_bytes + max(map(workspace_bytes, plan.ops))
    if op.kind in ("conv", "conv_input_gradient"):
        taps = 1 if is_pointwise(op) else math.prod(kernel_shape(op)[1:3])
        channels = max(image(op.inputs[0])[2], image(op.outputs[0])[2]) // op.attributes["groups"]
        size = _convolution(taps, channels)
        if op.inputs[0].dtype == "int8":  # the widened kernels of four output channels
            quads = -(-image(op.inputs[0])[2] // op.attributes["groups"] // 4)
            return max(size, taps * _TAP + taps * quads * _QUAD)
        return size
    if op.kind in ("depthwise", "depthwise_input_gradient"):
        return _depthwise(math.prod(kernel_shape(op)[1:3]), image(op.inputs[0])[2])
    return 0


def custom_workspace_bytes(op: Op) -> int:
    """Of a custom operator of `graph.CUSTOM`, which asks TFLite Micro for it as a scratch buffer."""
    if op.kind not in _CUSTOM_LAYERS:
        return 0
    taps = math.prod(op.inputs[1].shape[1:3]) if len(op.inputs[1].shape) == 4 else 1
    channels = max(op.inputs[0].shape[-1], op.outputs[0].shape[-1])
    if "DEPTHWISE" in op.kind:
        return _depthwise(taps, channels)
    return _convolution(taps, channels // op.attributes["groups"])


def _convolution(taps: int, channels: int) -> int:
    rows = min(taps * channels, max(taps, _defined("gemm.h", "TINYTL_PANEL_ROWS")))
    return taps * _TAP + 4 * rows * _defined("gemm.h", "TINYTL_PANEL_WIDTH")


def _depthwise(taps: int, channels: int) -> int:
    width = _defined("depthwise.h", "TINYTL_DEPTHWISE_BLOCK")
    blocks = min(-(-channels // width), _defined("depthwise.h", "TINYTL_DEPTHWISE_BLOCKS"))
    return taps * (_TAP + 4 * width * blocks)


@functools.cache
def _defined(header: str, name: str) -> int:
    """The number that a header of the kernels defines."""
    found = re.search(rf"^#define {name} (\d+)\b", (_INTERNAL / header).read_text(), re.MULTILINE)
    if not found:
        raise RuntimeError(f"{header} of the kernels does not define {name}")
    return int(found[1])
