"""The C function of a region that goes row by row (`rows`): a table of events, and the kernels that they call."""

from __future__ import annotations

import dataclasses

from tflite_export.graph import Op, Tensor
from tflite_export.micro.calls import Names, call
from tflite_export.micro.forms import image
from tflite_export.micro.params import is_pointwise
from tflite_export.micro.rows import Move, Node, RowPlan
from tflite_export.micro.rowwise import maps
from tflite_export.micro.workspace import workspace_bytes

_MOVE = 128  # and the node's number: the event of a move


def row_function(op: Op, names: Names, name: str, workspace: int) -> str:
    """``static int name(const T *x, uint8_t *memory)`` for the operator "rows".

    Args:
        names: as elsewhere in the function that runs it.
        workspace: where in the arena its buffers lie.
    """
    plan: RowPlan = op.attributes["plan"]
    kinds = [f"const {_ctype(t)} *x" for t in op.inputs if names.tensor(t) == "x"]
    arguments = ", ".join([*kinds, "uint8_t *memory"])
    region = _Region(plan, names, workspace)
    lines = [
        f"static const tinytl_row_event {name}_events[{len(plan.events)}] = {{",
        *(f"    {_event(event)}," for event in plan.events),
        "};",
        "",
        f"static int {name}({arguments}) {{",
        f"  for (size_t i = 0; i < {len(plan.events)}; ++i) {{",
        f"    const tinytl_row_event *const row = &{name}_events[i];",
        "    switch (row->op) {",
    ]
    moved = {event.node for event in plan.events if isinstance(event, Move)}
    for i, node in enumerate(plan.nodes):
        lines += [f"      case {i}: {{ /* {node.op.origin}: {node.op.kind} */".replace("*/ */", "*/")]
        lines += [f"        {line}" for line in region.node(i, node)]
        lines += ["        break;", "      }"]
        if i in moved:
            _, width, channels = node.shape
            function = "tinytl_move_rows_s8" if node.dtype == "int8" else "tinytl_move_rows"
            lines += [
                f"      case {_MOVE + i}:",
                f"        {function}({region.base(i)}, {width * channels}, row->out, row->rows);",
                "        break;",
            ]
    lines += ["      default:", "        break;", "    }", "  }", "  return TINYTL_OK;", "}", ""]
    return "\n".join(lines) + "\n"


def takes_x(op: Op, names: Names) -> bool:
    """Whether the region's function has the argument x."""
    return any(names.tensor(t) == "x" for t in op.inputs)


def _ctype(tensor: Tensor) -> str:
    return "float" if tensor.dtype == "float32" else f"{tensor.dtype}_t"


def _event(event) -> str:
    if isinstance(event, Move):
        return f"{{{_MOVE + event.node}, 0, {event.count}, 0, {event.start}, {{0, 0}}}}"
    first, second = (*event.inputs, 0)[:2]
    return f"{{{event.node}, {event.pad_top}, {event.rows}, {event.row}, {event.out}, {{{first}, {second}}}}}"


class _Region:
    def __init__(self, plan: RowPlan, names: Names, workspace: int):
        self.plan, self.names, self.workspace = plan, names, workspace
        self.number = {t: i for i, node in enumerate(plan.nodes) for t in node.tensors}
        self.offsets = {i: workspace + offset for i, offset in plan.offsets.items()}
        self.sums = {op: workspace + offset for op, offset in plan.sums.items()}
        self.scratch = workspace + plan.workspace_bytes
        self.mask_rows: dict[Tensor, int] = {}
        for op in plan.ops:
            height = image(op.outputs[0] if op.outputs else op.inputs[0])[0]
            masks = (t for t in (*op.inputs[1:], *op.outputs[1:]) if t is not None and t.dtype == "uint8")
            self.mask_rows.update(dict.fromkeys(masks, height))

    def base(self, i: int) -> str:
        """The buffer of a node."""
        if self.plan.whole[i]:
            return self.names.tensor(self.plan.nodes[i].tensors[-1])
        return f"({_ctype(self.plan.nodes[i].op.outputs[0])} *)(memory + {self.offsets[i]})"

    def node(self, i: int, node: Node) -> list[str]:
        """What the event of a row does: the operator's own call on a picture of one row, and what follows in place."""
        _, width, channels = node.shape
        out = f"{self.base(i)} + (size_t)row->out * {width * channels}" if node.tensors else ""
        stand_ins: dict[Tensor, str] = {}
        blocks: list[str] = []
        op = self._single(node.op, out, stand_ins)
        inner = self._names(op, stand_ins, blocks)
        lines = []
        if op.attributes.get("accumulates"):
            total = inner.tensor(maps(op)[1])
            lines.append(f"tinytl_copy({total}, {width * channels}, {out});")
        if node.op.kind == "bias_update":
            lines += self._bias(node.op, inner.tensor(op.inputs[0]), out, separate=True)
        else:
            lines += [f"TRY({text});" for text in call(op, inner)]
        for after in node.after:
            if after.kind == "bias_update":
                lines += self._bias(after, out, out, separate=False)
            else:
                mask = self._mask(after.inputs[1])
                lines.append(f"TRY(tinytl_mask_apply({out}, {mask}, {width}, {channels}, {out}));")
        return [*blocks, *lines]

    def _bias(self, op: Op, dy: str, out: str, separate: bool) -> list[str]:
        """Masks a row and adds it to the sums that become the bias's gradient behind the region."""
        _, width, channels = image(op.inputs[0])
        lines, mask = [], "NULL" if op.inputs[1] is None else self._mask(op.inputs[1])
        if separate and op.outputs:
            lines.append(f"TRY(tinytl_mask_apply({dy}, {mask}, {width}, {channels}, {out}));")
            dy, mask = out, "NULL"
        sums = f"(float *)(memory + {self.sums[op]})"
        return [*lines, f"TRY(tinytl_bias_gradient({dy}, {mask}, {width}, {channels}, {sums}));"]

    def _mask(self, mask: Tensor) -> str:
        return f"{self.names.tensor(mask)} + (size_t)row->row * {mask.nbytes // self.mask_rows[mask]}"

    def _single(self, op: Op, out: str, stand_ins: dict[Tensor, str]) -> Op:
        """`op` on stand-ins: what it writes is one row, what it reads by rows begins at the event's."""

        def of(tensor: Tensor, rows: int, text: str) -> Tensor:
            _, width, channels = image(tensor)
            stand_in = Tensor(tensor.name, (1, rows, width, channels), tensor.dtype, None, tensor.quantization)
            stand_ins[stand_in] = text
            return stand_in

        replaced: dict[Tensor, Tensor] = {}
        windowed = "stride" in op.attributes and not is_pointwise(op)
        for position, tensor in enumerate(maps(op)):
            _, width, channels = image(tensor)
            base = self.base(self.number[tensor]) if tensor in self.number else self.names.tensor(tensor)
            text = f"{base} + (size_t)row->in[{position}] * {width * channels}"
            rows = image(tensor)[0] if windowed and position == 0 else 1
            replaced[tensor] = of(tensor, rows, text)
        for tensor in (*op.inputs[1:], *op.outputs[1:]):
            if tensor is not None and tensor.dtype == "uint8" and tensor not in replaced:
                stand_in = Tensor(tensor.name, tensor.shape, "uint8")
                stand_ins[stand_in] = self._mask(tensor)
                replaced[tensor] = stand_in
        inputs = tuple(replaced.get(t, t) for t in op.inputs)
        saved = tuple(replaced.get(t, t) for t in op.outputs[1:])
        outputs = (of(op.outputs[0], 1, out), *saved) if op.outputs else ()
        return dataclasses.replace(op, inputs=inputs, outputs=outputs)

    def _names(self, op: Op, stand_ins: dict[Tensor, str], blocks: list[str]) -> Names:
        names = self.names

        def tensor(t: Tensor | None) -> str:
            return stand_ins[t] if t in stand_ins else names.tensor(t)

        def block(kind: str, text: str) -> str:
            if kind in ("tinytl_pointwise_params", "tinytl_quantization"):
                return names.params(kind, text)
            end = "output" if op.kind.endswith("gradient") else "input"
            blocks.append(f"{kind} block = *{names.params(kind, text)};")
            blocks.append(f"block.{end}.height = row->rows;")
            blocks.append("block.window.pad_top = row->pad_top;")
            return "&block"

        def workspace(_) -> str:
            return f"memory + {self.scratch}, {workspace_bytes(op)}" if workspace_bytes(op) else "NULL, 0"

        return Names(tensor, block, workspace, names.variable, names.scale, names.requantization)
