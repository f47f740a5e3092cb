"""Dilated convolutions, where a converter wrote them as a convolution of what SPACE_TO_BATCH_ND deals out."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.geometry import Padding
from tflite_export.graph import Graph, Op, Tensor, consumers, producers
from tflite_export.passes.rewrite import rewrite


def dilate_convolutions(graph: Graph) -> Graph:
    """SPACE_TO_BATCH_ND, convolution, BATCH_TO_SPACE_ND as one convolution with a dilation.

    Dealing out the padded image into blocks puts those pixels side by side that a kernel of that dilation sees.
    """
    table, readers = producers(graph.ops), consumers(graph.ops)
    folded: set[Tensor] = set()

    def fold(b: Builder, op: Op) -> Tensor | None:
        convolution = table.get(op.inputs[0])
        dealt = table.get(convolution.inputs[0]) if convolution is not None and convolution.inputs else None
        if dealt is None or len(readers[convolution.outputs[0]]) > 1 or not _is_trio(dealt, convolution, op):
            return None
        rows, columns = dealt.inputs[1].data
        attributes = {**convolution.attributes, "padding": _padding(dealt, op)}
        attributes.update(dilation_h_factor=int(rows), dilation_w_factor=int(columns))
        inputs = (dealt.inputs[0], *convolution.inputs[1:])
        folded.update((*dealt.outputs, *convolution.outputs))
        return b.op(convolution.kind, inputs, op.outputs[0].shape, **attributes)

    graph = rewrite(graph, {"BATCH_TO_SPACE_ND": fold})
    for _ in range(2):  # the convolutions, then what nobody reads without them
        unread = folded - set(consumers(graph.ops))
        graph = graph.replace(ops=tuple(op for op in graph.ops if unread.isdisjoint(op.outputs)))
    return graph


def _is_trio(dealt: Op, convolution: Op, collected: Op) -> bool:
    """Whether the three are what a dilated convolution becomes: one block, and no stride of its own."""
    if dealt.kind != "SPACE_TO_BATCH_ND" or convolution.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return False
    constants = (*dealt.inputs[1:], *collected.inputs[1:])
    if not all(tensor.is_constant for tensor in constants) or dealt.inputs[1].size != 2:
        return False
    steps = (convolution.attributes.get(name, 1) for name in ("stride_h", "stride_w"))
    dilations = (convolution.attributes.get(name, 1) for name in ("dilation_h_factor", "dilation_w_factor"))
    same_block = (dealt.inputs[1].data == collected.inputs[1].data).all()
    plain = convolution.attributes["padding"] == "VALID" and {*steps, *dilations} == {1}
    return bool(same_block) and plain and min(map(min, _padding(dealt, collected))) >= 0


def _padding(dealt: Op, collected: Op) -> Padding:
    """What is padded before and after each axis, and not cropped again."""
    left = dealt.inputs[2].data - collected.inputs[2].data
    return tuple((int(before), int(after)) for before, after in left)
