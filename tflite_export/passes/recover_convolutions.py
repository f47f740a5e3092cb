"""Matrix products that were convolutions, made convolutions again.

Where a kernel trains, it is no constant, and a convolution becomes products (`canonical`,
`dynamic_kernels.by_matrices`): slices of the image, one for each tap of the window, side by side, times the kernel as a
matrix. Once the kernel is a constant, the runtimes' own convolutions are faster and need no room for the slices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.geometry import effective_size, output_size
from tflite_export.graph import Graph, Op, Tensor, producers
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import rewrite


def recover_convolutions(graph: Graph) -> Graph:
    """The canonical `graph` with CONV_2D for every product of an image's windows with a constant matrix."""
    return remove_dead_code(rewrite(graph, {"MATMUL": _matmul, "RESHAPE": _reshape}))


def trim_padding(graph: Graph) -> Graph:
    """The canonical `graph` without padding behind an image that no window reaches: often, SAME is left."""

    def trim(b: Builder, op: Op) -> Tensor | None:
        x, kernel, _ = op.inputs
        strides = op.attributes["stride_h"], op.attributes["stride_w"]
        dilations = op.attributes.get("dilation_h_factor", 1), op.attributes.get("dilation_w_factor", 1)
        padding = []
        for i, (before, behind) in enumerate(op.attributes["padding"]):
            unread = (x.shape[i + 1] + before + behind - effective_size(kernel.shape[i + 1], dilations[i])) % strides[i]
            padding.append((before, behind - min(unread, behind)))
        return b.op(op.kind, op.inputs, op.outputs[0].shape, **{**op.attributes, "padding": tuple(padding)})

    return rewrite(graph, {"CONV_2D": trim})


def _matmul(b: Builder, op: Op) -> Tensor | None:
    (rows, matrix), made_by = op.inputs, producers(b.ops)
    source = made_by.get(rows)
    if not matrix.is_constant or op.attributes["adj_x"] or source is None or source.kind != "RESHAPE":
        return None
    seen = source.inputs[0]  # what the window sees at every output, in its channels
    kernel = matrix.data if op.attributes["adj_y"] else matrix.data.T
    if len(seen.shape) != 4 or seen.shape[3] != kernel.shape[1]:
        return None
    image, window, stride = _window(seen, made_by)
    if image is seen and seen.shape[1:3] == (1, 1):
        return None  # a dense layer
    if tuple(output_size(n, (0, 0), k, stride) for n, k in zip(image.shape[1:3], window)) != seen.shape[1:3]:
        return None
    kernel = constant(kernel.reshape(len(kernel), *window, image.shape[3]), name=matrix.name)
    return b.reshape(b.conv_2d(image, kernel, (stride, stride)), op.outputs[0].shape)


def _window(seen: Tensor, made_by: Mapping[Tensor, Op]) -> tuple[Tensor, tuple[int, int], int]:
    """The image, the window and the stride that `seen` is slices of; itself and a window of one pixel if it is none."""
    alone = seen, (1, 1), 1
    parts = _joined(seen, 3, made_by)
    slices = [made_by.get(part) for part in parts]
    if not all(op is not None and op.kind == "SLICE" and op.inputs[1].is_constant for op in slices):
        return alone
    if len({(op.inputs[0], op.outputs[0].shape) for op in slices}) != 1:
        return alone
    image, stride, channels = slices[0].inputs[0], 1, parts[0].shape[3]
    phases = made_by.get(image)
    if phases is not None and phases.kind == "SPACE_TO_DEPTH":
        image, stride = phases.inputs[0], phases.attributes["block_size"]
    begins = np.array([op.inputs[1].data for op in slices])
    phase = begins[:, 3] // channels
    positions = begins[:, 1:3] * stride + np.stack([phase // stride, phase % stride], 1)
    window = tuple(int(n) + 1 for n in positions.max(0))
    whole = np.stack(np.meshgrid(*map(np.arange, window), indexing="ij"), -1).reshape(-1, 2)
    if image.shape[3] != channels or not np.array_equal(positions, whole) or begins[:, 0].any():
        return alone
    return image, window, stride


def _reshape(b: Builder, op: Op) -> Tensor | None:
    """One RESHAPE for two; and parts that are joined as rows of pixels are joined as images."""
    made_by, shape = producers(b.ops), op.outputs[0].shape
    source = made_by.get(op.inputs[0])
    if source is not None and source.kind == "RESHAPE":
        return b.reshape(source.inputs[0], shape)
    rows = _joined(op.inputs[0], 1, made_by)
    parts = [made_by.get(part) for part in rows]
    if len(parts) == 1 or len(shape) != 4 or not all(part is not None and part.kind == "RESHAPE" for part in parts):
        return None
    images = [part.inputs[0] for part in parts]
    if any(image.shape != (*shape[:3], part.shape[1]) for image, part in zip(images, rows)):
        return None
    return b.concatenate(images, 3)


def _joined(tensor: Tensor, axis: int, made_by: Mapping[Tensor, Op]) -> list[Tensor]:
    """What CONCATENATION makes `tensor` of, in one step or several; itself if it is not joined along `axis`."""
    op = made_by.get(tensor)
    if op is None or op.kind != "CONCATENATION" or op.attributes["axis"] != axis:
        return [tensor]
    return [part for operand in op.inputs for part in _joined(operand, axis, made_by)]
