"""What forward kernels write besides their output, because the backward pass reads it in place of that output."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph, Op, Tensor
from tflite_export.micro.forms import image

# A backward operator's kind -> the position of the forward output that stands for what is saved, and what that is.
_SAVED = {
    "masked": (1, ("mask",)),
    "group_norm_gradient": (3, ("mean", "rstd")),
    "max_pool_gradient": (1, ("argmax",)),
}
_READS_MAPS = ("conv_kernel_update", "conv_kernel_gradient", "group_norm_gradient")


def save_for_backward(step: Graph) -> Graph:
    """`step` with masks, group statistics and the places of maxima as further outputs of forward operators."""
    table = {tensor: op for op in step.ops for tensor in op.outputs}
    saved: dict[Op, dict[str, Tensor]] = {}
    ops = []
    for op in step.ops:
        if op.kind in _SAVED:
            position, roles = _SAVED[op.kind]
            forward = table[op.inputs[position]]
            kept = saved.setdefault(forward, {})
            for role in roles:
                kept.setdefault(role, _tensor(forward, role))
            inputs = (*op.inputs[:position], *(kept[role] for role in roles), *op.inputs[position + 1 :])
            op = dataclasses.replace(op, inputs=inputs)
        ops.append(op)
    return step.replace(ops=tuple(_saving(op, saved[op]) if op in saved else op for op in ops))


def convert_again(step: Graph) -> Graph:
    """An int8 map that the backward pass reads as floats too is kept as it is, and converted there once more."""
    again: dict[Tensor, Op] = {}
    ops = []
    for op in step.ops:
        late = [t for t in op.inputs if t in again] if op.kind in _READS_MAPS else []
        for tensor in late:
            copy = dataclasses.replace(tensor)
            ops.append(dataclasses.replace(again[tensor], outputs=(copy,)))
            op = dataclasses.replace(op, inputs=tuple(copy if t is tensor else t for t in op.inputs))
        if op.kind == "dequantize":
            again[op.outputs[0]] = op
        ops.append(op)
    return step.replace(ops=tuple(ops))


def _tensor(forward: Op, role: str) -> Tensor:
    (y,) = forward.outputs
    height, width, channels = image(y)
    name = f"{y.name}/{role}"
    if role == "mask":  # the channels of a pixel begin a byte
        return Tensor(name, (height * width, -(-channels // 8)), "uint8")
    if role == "argmax":
        return Tensor(name, y.shape, "uint8")
    return Tensor(name, (forward.attributes["groups"],))


def _saving(op: Op, kept: dict[str, Tensor]) -> Op:
    attributes = {**op.attributes, "saves": tuple(kept)}
    return dataclasses.replace(op, outputs=(*op.outputs, *kept.values()), attributes=attributes)
