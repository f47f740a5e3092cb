"""From a canonical forward graph to a program: lowering, autodiff, fusion, memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tflite_export.from_tflite.trainables import frozen
from tflite_export.graph import Graph, Op, Tensor, substitute
from tflite_export.micro.calibration import Calibration
from tflite_export.micro.fused import fuse_forward
from tflite_export.micro.int8_activations import with_int8_activations
from tflite_export.micro.kernels import Layout, stored_kernels
from tflite_export.micro.memory import Memory, fullest, plan_memory
from tflite_export.micro.quantize import quantize_kernels
from tflite_export.micro.recognise import recognise
from tflite_export.micro.regions import in_order_for_rows, with_regions
from tflite_export.micro.step import check_updates, training_step
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.step_loss import peel_activation

_SHARES = (1, 0.95, 0.85, 0.7, 0)  # of an arena, that what is live may take


@dataclasses.dataclass(frozen=True, eq=False)
class Built:
    """The forward pass of a program, both functions that are made of it, and the memory of each."""

    forward: Graph
    train: Graph
    infer: Graph
    train_memory: Memory
    infer_memory: Memory
    layouts: dict[str, Layout]

    @property
    def arena_bytes(self) -> int:
        return max(self.train_memory.total_bytes, self.infer_memory.total_bytes)


def build(
    canonical: Graph,
    trained: Iterable[str],
    loss,
    pixels: tuple[float, float] | None = None,
    target: int = 0,
    calibration: Calibration | None = None,
) -> Built:
    """The program that trains the variables `trained`, with the layers row by row that make its arena least.

    Args:
        canonical: reads every variable that could train.
        trained: the names of those that do; the others are frozen at their values.
        loss: one of `tflite_export.losses`.
        target: bytes of an arena that is small enough: what it has room for is not done row by row.
        pixels: the factor and offset of an input of bytes; None for a float input.
        calibration: where maps are int8, what their scales come from; None: they are float.

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
    if calibration is not None:
        forward = with_int8_activations(forward, calibration.ranges(forward, layouts))
    train = training_step(forward, loss)
    check_updates(train)
    infer = fuse_forward(forward.replace(name="infer", ops=in_order_for_rows(forward.ops)))
    train, train_memory = _planned(train, target)
    target = max(target, train_memory.total_bytes)
    infer, infer_memory = _planned(infer, target, train_memory.offsets[train.inputs["x"]])
    return Built(forward, train, infer, train_memory, infer_memory, layouts)


def _planned(graph: Graph, target: int, x_offset: int | None = None) -> tuple[Graph, Memory]:
    """`graph` with so many layers row by row that its arena has no more than `target` bytes, or the least there is:
    what is live at once may not fit together without gaps."""
    best = None
    for share in _SHARES if target else (0,):
        changed = with_regions(graph, int(target * share))
        memory = plan_memory(changed, x_offset, target)
        if best is None or memory.total_bytes < best[1].total_bytes:
            best = changed, memory
        if memory.total_bytes <= target or fullest(changed)[0][0] > target:
            break
    return best


def _of_pixels(forward: Graph, factor: float, offset: float) -> Graph:
    """`forward` on bytes."""
    ((name, x),) = forward.inputs.items()
    pixels = Tensor(x.name, x.shape, "uint8")
    values = Tensor(f"{x.name}/float", x.shape)
    convert = Op("pixels", (pixels,), (values,), {"multiplier": factor, "offset": offset}, "input")
    return forward.replace(inputs={name: pixels}, ops=(convert, *substitute(forward.ops, {x: values})))
