"""The C function of a region that goes row by row (`rows`): a table of events, and the kernels that they call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tflite_export.graph import Op, Tensor
from tflite_export.micro.calls import Names, call
from tflite_export.micro.forms import image
from tflite_export.micro.params import params
from tflite_export.micro.rows import Move, RowPlan
from tflite_export.micro.workspace import workspace_bytes

_MOVE = 128  # the operator's number in the event of a move


def row_function(op: Op, names_of: Callable[[], Names], name: str) -> str:
    """``static int name(const T *x, float *out, uint8_t *memory)`` for the operator "rows"."""
    plan: RowPlan = op.attributes["plan"]
    offsets, at = [], 0
    for height, size in zip(plan.heights[:-1], plan.row_bytes[:-1]):
        offsets.append(at)
        at += -(-height * size // 8) * 8
    (x,) = op.inputs
    kind = "float" if x.dtype == "float32" else "uint8_t"
    lines = [
        f"static const tinytl_row_event {name}_events[{len(plan.events)}] = {{",
        *(f"    {_event(event)}," for event in plan.events),
        "};",
        "",
        f"static int {name}(const {kind} *x, float *out, uint8_t *memory) {{",
        f"  for (size_t i = 0; i < {len(plan.events)}; ++i) {{",
        f"    const tinytl_row_event *const row = &{name}_events[i];",
        "    switch (row->op) {",
    ]
    for i, inner in enumerate(plan.ops):
        lines += _case(i, inner, plan, offsets, at, names_of(), x)
    for i, size in enumerate(plan.row_bytes[:-1]):
        if any(isinstance(event, Move) and event.op == i for event in plan.events):
            lines += [
                f"      case {_MOVE + i}:",
                f"        tinytl_move_rows((float *)(memory + {offsets[i]}), {size // 4}, row->out, row->rows);",
                "        break;",
            ]
    lines += ["      default:", "        break;", "    }", "  }", "  return TINYTL_OK;", "}", ""]
    return "\n".join(lines) + "\n"


def _event(event) -> str:
    if isinstance(event, Move):
        return f"{{{_MOVE + event.op}, {event.count}, 0, {event.start}, {{0, 0}}}}"
    first, second = (*event.inputs, 0)[:2]
    return f"{{{event.op}, {event.rows}, {event.pad_top}, {event.out}, {{{first}, {second}}}}}"


def _case(i: int, op: Op, plan: RowPlan, offsets, end: int, names: Names, x: Tensor) -> list[str]:
    """One row of operator i: the operator's own call, on a picture as high as its window."""
    height, width, channels = image(op.outputs[0])
    row = Tensor("row", (1, 1, width, channels))
    makers = {inner.outputs[0]: j for j, inner in enumerate(plan.ops)}
    blocks: list[str] = []

    def pointer(tensor: Tensor | None) -> str:
        if tensor is row:
            base = "out" if i == len(plan.ops) - 1 else f"(float *)(memory + {offsets[i]})"
            return f"{base} + (size_t)row->out * {width * channels}"
        if tensor in images:
            source, position = images[tensor]
            _, w, c = image(source)
            base = "x" if source is x else f"(const float *)(memory + {offsets[makers[source]]})"
            return f"{base} + (size_t)row->in[{position}] * {w * c}"
        return names.tensor(tensor)

    def block(kind: str, text: str) -> str:
        if kind == "tinytl_pointwise_params":
            return names.params(kind, text)
        blocks.append(f"        {kind} block = *{names.params(kind, text)};")
        blocks.append("        block.input.height = row->rows;")
        blocks.append("        block.window.pad_top = row->pad_top;")
        return "&block"

    def workspace(_) -> str:
        return f"memory + {end}, {workspace_bytes(op)}" if workspace_bytes(op) else "NULL, 0"

    images: dict[Tensor, tuple[Tensor, int]] = {}
    inputs = []
    for position, tensor in enumerate(op.inputs):
        is_map = tensor is not None and not tensor.is_constant and (position == 0 or op.kind == "add")
        if is_map:
            _, w, c = image(tensor)
            rows = 1 if "stride" not in op.attributes or _is_pointwise(op) else image(tensor)[0]
            stand_in = Tensor(tensor.name, (1, rows, w, c), tensor.dtype)
            images[stand_in] = (tensor, position)
            tensor = stand_in
        inputs.append(tensor)
    attributes = dict(op.attributes)
    single = dataclasses.replace(op, inputs=tuple(inputs), outputs=(row,), attributes=attributes)
    inner = Names(pointer, block, workspace, names.variable, names.scale)
    (text,) = call(single, inner)
    return [f"      case {i}: {{", *blocks, f"        TRY({text});", "        break;", "      }"]


def _is_pointwise(op: Op) -> bool:
    return op.kind == "conv" and params(op)[0] == "tinytl_pointwise_params"
