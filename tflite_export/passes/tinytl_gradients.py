"""Masks of one bit, and what the custom operators of `micro/tflm` do to a gradient on its way: sums and masks."""

from __future__ import annotations

import dataclasses

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, consumers, producers

_LAYERS = ("TINYTL_CONV_2D", "TINYTL_DEPTHWISE_CONV_2D")
_INPUT_GRADIENTS = tuple(f"{kind}_INPUT_GRADIENT" for kind in _LAYERS)
_MASK_BELOW, _OTHER = 3, 4  # operands of an input gradient


def fuse_gradients(graph: Graph) -> Graph:
    """`graph`, behind `as_custom_layers`, with one-bit masks, and gradients summed and masked as they arise."""
    graph = _fold(_with_bits(graph), "ADD", _added)
    graph = _fold(graph, "APPLY_MASK", _masked)
    return _sum_biases(_apply_bits(graph))


def mask_bytes(y: Tensor) -> int:
    """Of y's mask: every pixel has whole bytes (`tinytl_mask_bytes`)."""
    channels = y.shape[-1]
    return y.size // channels * -(-channels // 8)


def _with_bits(graph: Graph) -> Graph:
    """Every mask that a custom layer can write, as its second output: uint8, one bit an element."""
    table, readers = producers(graph.ops), consumers(graph.ops)
    bits: dict[Tensor, Tensor] = {}  # by the bool mask
    of_map: dict[Tensor, Tensor] = {}
    for op in graph.ops:
        if op.kind != "ACTIVATION_MASK":
            continue
        (y,), (mask,) = op.inputs, op.outputs
        source = table.get(y)
        written = source is not None and source.kind in _LAYERS
        if not written or source.attributes["activation"] != op.attributes["activation"]:
            continue
        if all(reader.kind == "APPLY_MASK" for reader in readers.get(mask, ())):
            of_map.setdefault(y, Tensor(f"{y.name}/mask", (mask_bytes(y),), "uint8"))
            bits[mask] = of_map[y]
    ops = []
    for op in graph.ops:
        if op.outputs and op.outputs[0] in bits:
            continue
        if op.outputs and op.outputs[0] in of_map:
            op = dataclasses.replace(op, outputs=(op.outputs[0], of_map[op.outputs[0]]))
        ops.append(dataclasses.replace(op, inputs=tuple(bits.get(t, t) for t in op.inputs)))
    return graph.replace(ops=tuple(ops))


def _fold(graph: Graph, kind: str, fold) -> Graph:
    """Puts operators of `kind` into the input gradient that writes one of their operands, where nobody else reads it.

    `fold(op, operand, source)` is that input gradient with the operator in it, or None.
    """
    table, readers, outputs = producers(graph.ops), consumers(graph.ops), set(graph.outputs.values())
    folded: set[Op] = set()
    ops: list[Op] = []
    for op in graph.ops:
        for operand in op.inputs if op.kind == kind else ():
            source = table.get(operand)
            alone = source is not None and len(readers[operand]) == 1 and operand not in outputs
            merged = fold(op, operand, source) if alone and source.kind in _INPUT_GRADIENTS else None
            if merged is not None:
                folded.add(source)
                op = merged
                table[op.outputs[0]] = op
                break
        ops.append(op)
    return graph.replace(ops=tuple(op for op in ops if op not in folded))


def _added(op: Op, operand: Tensor, source: Op) -> Op | None:
    a, b = op.inputs
    plain = op.attributes.get("fused_activation_function", "NONE") == "NONE"
    if not plain or a is b or a.shape != b.shape or source.inputs[_OTHER] is not None:
        return None
    return _replaced(source, _OTHER, b if operand is a else a, op)


def _masked(op: Op, operand: Tensor, source: Op) -> Op | None:
    gradient, bits = op.inputs
    if bits.dtype != "uint8" or operand is not gradient or op.outputs[0].shape != gradient.shape:
        return None
    return _replaced(source, _MASK_BELOW, bits, op)


def _replaced(source: Op, index: int, tensor: Tensor, by: Op) -> Op:
    inputs = (*source.inputs[:index], tensor, *source.inputs[index + 1 :])
    return dataclasses.replace(source, inputs=inputs, outputs=by.outputs)


def _apply_bits(graph: Graph) -> Graph:
    """Masks that no input gradient could apply: TINYTL_BIAS_GRADIENT hands on dy behind the mask."""
    b = Builder()
    for op in graph.ops:
        if op.kind != "APPLY_MASK" or op.inputs[1].dtype != "uint8":
            b.copy(op)
            continue
        with b.at(op.origin):
            dy = b.broadcast(op.inputs[0], op.outputs[0].shape)
            b.copy(_bias_gradient(op.origin, (dy, op.inputs[1]), op.outputs))
    return graph.replace(ops=tuple(b.ops))


def _bias_gradient(origin: str, inputs, masked=()) -> Op:
    sums = Tensor(f"{origin}/bias_gradient", inputs[0].shape[-1:])
    return Op("TINYTL_BIAS_GRADIENT", inputs, (sums, *masked), {}, origin)


def _sum_biases(graph: Graph) -> Graph:
    """Sums over all but the channels; one that was masked by TINYTL_BIAS_GRADIENT has been summed there."""
    table = producers(graph.ops)
    sums: dict[Tensor, Tensor] = {}
    ops = []
    for op in graph.ops:
        op = dataclasses.replace(op, inputs=tuple(sums.get(t, t) for t in op.inputs))
        if op.kind == "SUM" and _is_bias_sum(op):
            source = table.get(op.inputs[0])
            if source is not None and source.kind == "TINYTL_BIAS_GRADIENT" and op.inputs[0] in source.outputs[1:]:
                sums[op.outputs[0]] = source.outputs[0]
                continue
            op = Op("TINYTL_BIAS_GRADIENT", (op.inputs[0], None), op.outputs, {}, op.origin)
        ops.append(op)
    outputs = {name: sums.get(t, t) for name, t in graph.outputs.items()}
    return graph.replace(ops=tuple(ops), outputs=outputs)


def _is_bias_sum(op: Op) -> bool:
    x, axes = op.inputs
    if x.dtype != "float32" or len(x.shape) not in (2, 4) or not axes.is_constant:
        return False
    summed = {int(axis) % len(x.shape) for axis in axes.data.ravel()}
    return summed == set(range(len(x.shape) - 1)) and not op.attributes.get("keep_dims", False)
