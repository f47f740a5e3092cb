"""From a canonical forward graph to a program: lowering, autodiff, fusion, memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tflite_export.from_tflite.trainables import frozen
from tflite_export.graph import Graph, Op, Tensor, substitute
from tflite_export.micro.fused import fuse_forward
from tflite_export.micro.kernels import Layout, stored_kernels
from tflite_export.micro.memory import Memory, peak_bytes, plan_memory
from tflite_export.micro.quantize import quantize_kernels
from tflite_export.micro.recognise import recognise
from tflite_export.micro.rows import candidates, with_rows
from tflite_export.micro.step import check_updates, training_step
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.step_loss import peel_activation


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """Both functions of a program, and the memory of each."""

    train: Graph
    infer: Graph
    train_memory: Memory
    infer_memory: Memory
    layouts: dict[str, Layout]

    @property
    def arena_bytes(self) -> int:
        return max(self.train_memory.total_bytes, self.infer_memory.total_bytes)


def build(canonical: Graph, trained: Iterable[str], loss, pixels: tuple[float, float] | None = None) -> Built:
    """The program that trains the variables `trained`, with as many early layers row by row as makes the arena least.

    Args:
        canonical: reads every variable that could train.
        trained: the names of those that do; the others are frozen at their values.
        loss: one of `tflite_export.losses`.
        pixels: the factor and offset of an input of bytes; None for a float input.

    Raises:
        ValueError: a layer that no kernel runs.
    """
    logits = peel_activation(canonical)[0] if loss.of_logits else next(iter(canonical.outputs.values()))
    fixed = {variable.name for variable in canonical.variables} - set(trained)
    graph = canonical.replace(outputs={"logits": logits})
    graph, layouts = stored_kernels(remove_dead_code(frozen(graph, fixed)))
    forward = quantize_kernels(recognise(graph))
    if pixels is not None:
        forward = _of_pixels(forward, *pixels)
    train = training_step(forward, loss)
    check_updates(train)
    infer = fuse_forward(forward.replace(name="infer"))
    options = [with_rows(train, infer, count) for count in [0, *candidates(train, _forward_part(train))]]
    least = sorted((max(map(peak_bytes, option)), i) for i, option in enumerate(options))
    best: Built | None = None
    for floor, i in least:
        if best is not None and floor >= best.arena_bytes:
            break
        memories = [plan_memory(graph) for graph in options[i]]
        built = Built(*options[i], *memories, layouts)
        best = built if best is None or built.arena_bytes < best.arena_bytes else best
    return best


def _forward_part(train: Graph) -> list[Op]:
    ops = []
    for op in train.ops:
        if op.kind.endswith(("cross_entropy", "squared_error")):
            break
        ops.append(op)
    return ops


def _of_pixels(forward: Graph, factor: float, offset: float) -> Graph:
    """`forward` on bytes."""
    ((name, x),) = forward.inputs.items()
    pixels = Tensor(x.name, x.shape, "uint8")
    values = Tensor(f"{x.name}/float", x.shape)
    convert = Op("pixels", (pixels,), (values,), {"multiplier": factor, "offset": offset}, "input")
    return forward.replace(inputs={name: pixels}, ops=(convert, *substitute(forward.ops, {x: values})))

