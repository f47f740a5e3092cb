"""Updates as the custom operators of `micro/tflm`: with the gradient that they use, if nothing else uses it."""

from __future__ import annotations

import numpy as np

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor, consumers, producers

_FUSED = {
    "TINYTL_BIAS_GRADIENT": "TINYTL_BIAS_UPDATE",
    "TINYTL_CONV_2D_KERNEL_GRADIENT": "TINYTL_CONV_2D_KERNEL_UPDATE",
}
_MOVES = ("TRANSPOSE", "RESHAPE")


def fuse_updates(graph: Graph) -> Graph:
    """`graph`, behind `fuse_gradients`, with a custom operator for every OPTIMIZER_STEP."""
    table, readers = producers(graph.ops), consumers(graph.ops)
    outputs = set(graph.outputs.values())
    b, absorbed = Builder(), set()
    for op in graph.ops:
        if op.kind != "OPTIMIZER_STEP":
            b.copy(op)
            continue
        with b.at(op.origin):
            chain = _chain(op.inputs[0], table, readers, outputs)
            slots = op.inputs[4:]
            if not chain or (len(chain) > 1 and slots):  # every slot would be turned there and back too
                b.copy(_update(op))
            else:
                absorbed.update(chain)
                _fused(b, op, chain)
    return in_dependency_order(graph.replace(ops=tuple(op for op in b.ops if op not in absorbed)))


def optimizer_attributes(optimizer) -> dict[str, object]:
    """The settings of an optimiser of `tflite_export.optimizers`, as custom options have them."""
    momentum = getattr(optimizer, "momentum", 0.0)
    return {
        "optimizer": "ADAM" if optimizer.name == "adam" else "MOMENTUM" if momentum else "SGD",
        "nesterov": bool(getattr(optimizer, "nesterov", False)),
        "momentum": momentum,
        **{name: getattr(optimizer, name, 0.0) for name in ("beta_1", "beta_2", "epsilon", "weight_decay")},
    }


def in_dependency_order(graph: Graph) -> Graph:
    """`graph` with every operator behind those that write its operands, and otherwise in the given order.

    Operators only ever move forward in time, and none waits for an assignment: what reads a variable before it is
    assigned goes on doing so.
    """
    table, done, ops = producers(graph.ops), set(), []
    for last in graph.ops:
        stack = [last]
        while stack:
            op = stack[-1]
            waiting = [table[t] for t in op.inputs if t in table and table[t] not in done]
            if waiting and op not in done:
                stack += reversed(waiting)
                continue
            stack.pop()
            if op not in done:
                done.add(op)
                ops.append(op)
    return graph.replace(ops=tuple(ops))


def _chain(gradient: Tensor, table, readers, outputs) -> list[Op]:
    """The operators from a gradient that an update may absorb to `gradient` itself: the first makes it, the others turn
    it into the variable's layout. Empty where there is none such."""
    chain: list[Op] = []
    tensor = gradient
    while True:
        op = table.get(tensor)
        if op is None or len(readers[tensor]) != 1 or tensor in outputs:
            return []
        chain.insert(0, op)
        if op.kind in _FUSED and tensor is op.outputs[0]:
            return chain
        if op.kind not in _MOVES:
            return []
        tensor = op.inputs[0]


def _update(op: Op) -> Op:
    gradient, value, rate, step, *slots = op.inputs
    attributes = optimizer_attributes(op.attributes["optimizer"])
    return Op("TINYTL_UPDATE", (gradient, value, rate, step, None, *slots), op.outputs, attributes, op.origin)


def _fused(b: Builder, op: Op, chain: list[Op]) -> None:
    """The gradient's maker with the update in it, on the value in the gradient's own layout."""
    (source, *moves), (_, value, rate, step, *slots) = chain, op.inputs
    new = op.outputs
    if moves:
        for move in reversed(moves):
            value = _undone(b, move, value)
        new = (Tensor(op.outputs[0].name, value.shape),)
    given = source.inputs if source.kind != "TINYTL_BIAS_GRADIENT" else (*source.inputs, None)[:2]
    attributes = {**source.attributes, **optimizer_attributes(op.attributes["optimizer"])}
    inputs = (*given, value, rate, step, None, *slots)
    b.copy(Op(_FUSED[source.kind], inputs, (*new, *source.outputs[1:]), attributes, op.origin))
    tensor = new[0]
    for i, move in enumerate(moves):
        outputs = op.outputs if i == len(moves) - 1 else (Tensor(tensor.name, move.outputs[0].shape),)
        b.copy(Op(move.kind, (tensor, *move.inputs[1:]), outputs, move.attributes, op.origin))
        tensor = outputs[0]


def _undone(b: Builder, move: Op, value: Tensor) -> Tensor:
    if move.kind == "RESHAPE":
        return b.reshape(value, move.inputs[0].shape)
    return b.transpose(value, [int(i) for i in np.argsort(move.inputs[1].data.ravel())])
