"""Gradients and what is done with them at once, as one operator."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Graph, Op, Tensor, consumers, producers

_INPUT_GRADIENTS = (
    "conv_input_gradient",
    "depthwise_input_gradient",
    "average_pool_gradient",
    "max_pool_gradient",
    "mean_gradient",
    "group_norm_gradient",
    "bilinear_gradient",
)
_MASKING = tuple(kind for kind in _INPUT_GRADIENTS if kind != "bilinear_gradient")


def fuse(step: Graph) -> Graph:
    """A training step with every fused form that the kernels have."""
    step = _updates(step)
    step = _sums(step)
    step = _bilinear_sums(step)
    return _masks_below(step)


def fuse_forward(forward: Graph) -> Graph:
    """An inference pass with the fused forms that it has."""
    return _bilinear_sums(forward)


def _updates(step: Graph) -> Graph:
    """The gradient of a bias or kernel goes straight into its update, and a bias's masks dy on the way."""
    readers, table = consumers(step.ops), producers(step.ops)
    replaced: dict[Op, Op] = {}
    dropped: set[Op] = set()
    for op in step.ops:
        if op.kind != "update":
            continue
        (gradient,) = op.inputs
        source = table.get(gradient)
        if source is None or len(readers[gradient]) != 1:
            continue
        variable = {"variable": op.attributes["variable"]}
        if source.kind == "bias_gradient":
            (dy,) = source.inputs
            mask = table.get(dy)
            alone = mask is not None and mask.kind == "masked" and len(readers[mask.inputs[0]]) == 1
            if alone and mask not in replaced:
                replaced[mask] = Op("bias_update", mask.inputs, mask.outputs, variable, op.origin)
                dropped.add(source)
            else:
                replaced[source] = Op("bias_update", (dy, None), (), variable, op.origin)
            dropped.add(op)
        elif source.kind in ("conv_kernel_gradient", "depthwise_kernel_gradient"):
            kind = source.kind.replace("gradient", "update")
            replaced[source] = Op(kind, source.inputs, (), {**source.attributes, **variable}, op.origin)
            dropped.add(op)
    return step.replace(ops=tuple(replaced.get(op, op) for op in step.ops if op not in dropped))


def _sums(step: Graph) -> Graph:
    """A gradient that is added to another is added by the kernel that makes it."""
    while (found := _sum(step)) is not None:
        step = found
    return step


def _sum(step: Graph) -> Graph | None:
    readers, table = consumers(step.ops), producers(step.ops)
    place = {op: i for i, op in enumerate(step.ops)}
    for op in step.ops:
        if op.kind != "add" or op.attributes.get("activation", "NONE") != "NONE":
            continue
        for part, total in (op.inputs, op.inputs[::-1]):
            maker = table.get(part)
            if maker is None or maker.kind not in _INPUT_GRADIENTS or len(readers[part]) > 1 or total is part:
                continue
            if maker.outputs[0] is not part or "accumulates" in maker.attributes:
                continue
            if any(_source(t, table) is _source(total, table) for t in maker.inputs):
                continue  # the kernel reads what it would write over
            before = table.get(total)
            if before is not None and place[before] > place[maker]:
                continue
            if any(place[reader] > place[maker] for reader in readers[total] if reader is not op):
                continue  # somebody still needs it without the sum
            attributes = {**maker.attributes, "accumulates": True}
            fused = dataclasses.replace(
                maker, inputs=(*maker.inputs, total), outputs=(*op.outputs, *maker.outputs[1:]), attributes=attributes
            )
            return step.replace(ops=tuple(fused if o is maker else o for o in step.ops if o is not op))
    return None


def _source(tensor: Tensor | None, table) -> Tensor | None:
    """The tensor that `tensor` is in another shape."""
    while tensor in table and table[tensor].kind == "reshape":
        tensor = table[tensor].inputs[0]
    return tensor


def _bilinear_sums(step: Graph) -> Graph:
    """A branch's end is added to the main path while it is resized."""
    readers, table = consumers(step.ops), producers(step.ops)
    place = {op: i for i, op in enumerate(step.ops)}
    replaced: dict[Op, Op] = {}
    dropped = set()
    for op in step.ops:
        if op.kind != "add" or op.attributes.get("activation", "NONE") != "NONE" or len(op.outputs) > 1:
            continue
        for part, total in (op.inputs, op.inputs[::-1]):
            resize = table.get(part)
            if resize is None or resize.kind != "bilinear" or len(readers[part]) > 1 or resize in dropped:
                continue
            if any(place[reader] > place[op] for reader in readers[total]):
                continue
            replaced[op] = dataclasses.replace(
                resize, inputs=(*resize.inputs, total), outputs=op.outputs,
                attributes={**resize.attributes, "accumulates": True},
            )  # fmt: skip
            dropped.add(resize)
            break
    return step.replace(ops=tuple(replaced.get(op, op) for op in step.ops if op not in dropped))


def _masks_below(step: Graph) -> Graph:
    """Where no bias trains, the kernel that makes a gradient masks it for the layer below."""
    readers, table = consumers(step.ops), producers(step.ops)
    replaced: dict[Op, Op] = {}
    dropped: set[Op] = set()
    for op in step.ops:
        if op.kind != "masked":
            continue
        dy, mask = op.inputs
        maker: Op | None = table.get(dy)
        if maker is None or maker.kind not in _MASKING or len(readers[dy]) > 1 or maker.outputs[0] is not dy:
            continue
        attributes = {**maker.attributes, "mask_below": True}
        outputs: tuple[Tensor, ...] = (*op.outputs, *maker.outputs[1:])
        replaced[maker] = dataclasses.replace(
            maker, inputs=(*maker.inputs, mask), outputs=outputs, attributes=attributes
        )
        dropped.add(op)
    return step.replace(ops=tuple(replaced.get(op, op) for op in step.ops if op not in dropped))
