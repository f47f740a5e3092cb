"""The C file of a program."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.graph import Graph, Op, Tensor, Variable
from tflite_export.micro import arrays
from tflite_export.micro.calls import Names, call
from tflite_export.micro.forms import image
from tflite_export.micro.identifiers import Identifiers
from tflite_export.micro.memory import Memory
from tflite_export.micro.number import float_literal
from tflite_export.micro.program import MicroProgram, flat
from tflite_export.micro.requantization import Requantization
from tflite_export.micro.row_source import row_function, takes_x
from tflite_export.micro.state import FORMAT_VERSION, fingerprint_bytes


def source(program: MicroProgram) -> str:
    """The text of ``<name>.c``."""
    return _Source(program).text()


class _Source:
    def __init__(self, program: MicroProgram):
        self.program = program
        self.identifiers = Identifiers()
        self.values: dict[Tensor, Variable] = {}
        for graph in (program.train, program.infer):
            for op in graph.ops:
                if op.kind == "READ_VARIABLE":
                    self.values[op.outputs[0]] = op.attributes["variable"]
        sizes = [v.initial.size for v in program.variables]
        self.starts = dict(zip(program.variables, np.cumsum([0, *sizes]).tolist()))
        self.blocks: dict[tuple[str, str], str] = {}
        self.used: dict[Variable, str] = {}
        self.scaled: set[Tensor] = set()
        self.requantizations: dict[Requantization, str] = {}
        self.layers: dict[Tensor, str] = {}
        for op in program.operators:
            for position, role in ((1, "kernel"), (2, "bias")):
                if op.kind in ("conv", "depthwise") and op.inputs[position] is not None:
                    self.layers.setdefault(op.inputs[position], f"{op.origin}_{role}")
            if op.kind == "group_norm":
                for tensor, role in zip(op.inputs[1:], ("gamma", "beta")):
                    self.layers.setdefault(tensor, f"{op.origin}_{role}")

    def text(self) -> str:
        name = self.program.name
        rows = "".join(
            row_function(op, self.names(memory, None), self.row_name(op), memory.workspaces[op][0])
            for graph, memory in self._functions()
            for op in graph.ops
            if op.kind == "rows"
        )
        train, infer = self._train(), self._infer()
        parts = [
            f'#include "{name}.h"\n\n#include <math.h>\n#include <string.h>\n\n#include "tinytl/program.h"\n'
            '#include "tinytl/tinytl.h"\n',
            "#define TRY(call)                          \\\n  do {                                     \\\n"
            "    const int status = (int)(call);        \\\n    if (status != TINYTL_OK) return status; \\\n"
            "  } while (0)\n",
            self._lifetimes(),
            f"static uint64_t arena[{-(-self.program.arena_bytes // 8) or 1}];\n",
            self._state(),
            self._constants(),
            self._blocks(),
            rows,
            train,
            infer,
            self._rest(),
        ]
        return "\n".join(part for part in parts if part)

    # What operators read and write

    def names(self, memory: Memory, y: str | None) -> Names:
        def tensor(t: Tensor | None) -> str:
            if t is None:
                return "NULL"
            if t.is_constant:
                return self.identifiers(t, self.layers.get(t, t.name))
            if t in self.values:
                start = self.starts[self.values[t]]
                return f"state + {start}" if start else "state"
            if t in self.program.train.inputs.values() or t in self.program.infer.inputs.values():
                return (y or "y") if t.name == "y" else "x"
            kind = "float" if t.dtype == "float32" else f"{t.dtype}_t"
            return f"({kind} *)(memory + {memory.offsets[t]})"

        def params(kind: str, text: str) -> str:
            key = (kind, text)
            if key not in self.blocks:
                self.blocks[key] = f"block_{len(self.blocks)}"
            return f"&{self.blocks[key]}"

        def workspace(op: Op) -> str:
            offset, size = memory.workspaces.get(op, (None, 0))
            return f"memory + {offset}, {size}" if size else "NULL, 0"

        def variable(v: Variable) -> str:
            self.used.setdefault(v, self.identifiers(v, f"variable_{v.name}"))
            return f"&{self.used[v]}"

        def scale(kernel: Tensor) -> str:
            name = tensor(kernel)
            self.scaled.add(kernel)
            return self.identifiers((kernel, "scale"), f"{name}_scale")

        def requantization(numbers: Requantization) -> str:
            return f"&{self.requantizations.setdefault(numbers, f'requantization_{len(self.requantizations)}')}"

        return Names(tensor, params, workspace, variable, scale, requantization)

    # Functions

    def _functions(self):
        program = self.program
        return (program.train, program.train_memory), (program.infer, program.infer_memory)

    def row_name(self, op: Op) -> str:
        return self.identifiers((op, "rows"), f"rows_to_{op.origin}")

    def _steps(self, graph: Graph, memory: Memory, y: str | None, only=None) -> list[str]:
        names, lines = self.names(memory, y), []
        for i, op in enumerate(graph.ops):
            if only is not None and i not in only:
                continue
            if op.kind == "rows":
                calls = self._region(op, memory, names)
            else:
                calls = call(op, names)
            if calls:
                lines.append(f"  /* {i}: {describe(op)} */")
                lines += [f"  TRY({text});" for text in calls]
        return lines

    def _region(self, op: Op, memory: Memory, names: Names) -> list[str]:
        """The call of a region's function, between clearing the sums of its biases' gradients and using them."""
        workspace, _ = memory.workspaces[op]
        sums = [
            (inner, f"(float *)(memory + {workspace + offset})", image(inner.inputs[0])[2])
            for inner, offset in op.attributes["plan"].sums.items()
        ]
        x = "x, " if takes_x(op, names) else ""
        return [
            *(f"tinytl_clear({text}, {count})" for _, text, count in sums),
            f"{self.row_name(op)}({x}memory)",
            *(
                f"tinytl_update(&optimizer, {names.variable(inner.attributes['variable'])}, {text}, {count})"
                for inner, text, count in sums
            ),
        ]

    def _train(self) -> str:
        program = self.program
        graph, memory = program.train, program.train_memory
        at = next(i for i, op in enumerate(graph.ops) if op.kind.endswith(("cross_entropy", "squared_error")))
        y = "&y" if self._sparse() else "y"
        forward = self._steps(graph, memory, y, range(at + 1))
        backward = self._steps(graph, memory, y, range(at + 1, len(graph.ops)))
        prefix = program.name.upper()
        check = f"  TRY(tinytl_all_finite(x, {prefix}_INPUT_SIZE, &finite));" if self._float_input() else ""
        lines = [
            f"int {signature(program, 'train_step')} {{",
            "  uint8_t *const memory = (uint8_t *)arena;",
            f"  tinytl_optimizer optimizer = {_optimizer(program.optimizer)};",
            "  tinytl_loss_result result;",
            "  bool finite = true;",
            "",
            f"  if (x == NULL || loss == NULL || correct == NULL{'' if self._sparse() else ' || y == NULL'}) "
            "return TINYTL_ERROR_NULL;",
            "  if (!ready) return TINYTL_ERROR_NOT_READY;",
            check,
            *forward,
            "",
            "  *loss = finite && result.finite ? (result.valid ? result.loss_sum : 0.0f) : NAN;",
            "  *correct = result.correct;",
            "  if (!finite || !result.finite || !result.valid) return TINYTL_OK; /* a step that leaves no trace */",
            "",
            "  optimizer.learning_rate = learning_rate;",
            "  TRY(tinytl_optimizer_begin_step(&optimizer, steps + 1));",
            *backward,
            "  ++steps;",
            "  return TINYTL_OK;",
            "}",
        ]
        return "\n".join(line for line in lines if line is not None) + "\n"

    def _infer(self) -> str:
        program = self.program
        graph, memory = program.infer, program.infer_memory
        (logits,) = graph.outputs.values()
        body = self._steps(graph, memory, None)
        lines = [
            f"int {signature(program, 'infer')} {{",
            "  uint8_t *const memory = (uint8_t *)arena;",
            "",
            "  if (x == NULL || logits == NULL) return TINYTL_ERROR_NULL;",
            "  if (!ready) return TINYTL_ERROR_NOT_READY;",
            *body,
            f"  memcpy(logits, memory + {memory.offsets[logits]}, {logits.nbytes});",
            "  return TINYTL_OK;",
            "}",
        ]
        return "\n".join(lines) + "\n"

    def _sparse(self) -> bool:
        return self.program.train.inputs["y"].dtype == "int32"

    def _float_input(self) -> bool:
        return self.program.train.inputs["x"].dtype == "float32"

    # Data

    def _state(self) -> str:
        program = self.program
        count = program.trainable_count
        lines = [
            "/* What is trained, then what the optimiser keeps of it, in the order of initial_state. */",
            f"static float state[{count * (1 + len(program.slots))}];",
            "static int32_t steps; /* that changed something */",
            "static bool ready;    /* state holds values */",
            "",
        ]
        values = np.concatenate([flat(v) for v in program.variables])
        lines.append(arrays.floats("initial_state", values))
        return "\n".join(lines)

    def _blocks(self) -> str:
        count, slots = self.program.trainable_count, len(self.program.slots)
        lines = [f"static const {kind} {name} = {text};" for (kind, text), name in self.blocks.items()]
        for numbers, name in self.requantizations.items():
            lines.append(arrays.integers(f"{name}_multiplier", np.array(numbers.multiplier, np.int32)))
            lines.append(arrays.integers(f"{name}_shift", np.array(numbers.shift, np.int32)))
            rest = ", ".join(map(str, dataclasses.astuple(numbers)[2:]))
            lines.append(f"static const tinytl_requantization {name} = {{{name}_multiplier, {name}_shift, {rest}}};\n")
        for variable, name in self.used.items():
            start = self.starts[variable]
            parts = [f"state + {start + count * i}" if i <= slots else "NULL" for i in range(3)]
            lines.append(f"static const tinytl_variable {name} = {{{', '.join(parts)}}};")
        return "\n".join(lines) + "\n"

    def _constants(self) -> str:
        texts = []
        for tensor in self.program.constants:
            name = self.identifiers(tensor, self.layers.get(tensor, tensor.name))
            shape = list(tensor.shape)
            if tensor.dtype == "int8":
                texts.append(f"/* {shape} */\n" + arrays.bytes_(name, tensor.data))
                if tensor in self.scaled:
                    scale = self.identifiers((tensor, "scale"), f"{name}_scale")
                    texts.append(arrays.floats(scale, np.asarray(tensor.quantization.scale, np.float32)))
            elif tensor.dtype == "int32":
                texts.append(f"/* {shape} */\n" + arrays.integers(name, tensor.data))
            else:
                texts.append(f"/* {shape} */\n" + arrays.floats(name, tensor.data))
        return "\n".join(texts)

    def _lifetimes(self) -> str:
        lines = [
            "/* The arena: the bytes that a buffer has, and the first and last operator that uses it.",
            " *",
        ]
        for (graph, memory), title in zip(self._functions(), ("train_step", "infer")):
            lines += [f" * {self.program.name}_{title}, {memory.total_bytes} bytes", " *   offset    bytes  operators"]
            for buffer in memory.buffers:
                label = buffer.label or " = ".join(f"{t.name} {list(t.shape)}" for t in buffer.tensors)
                last = min(buffer.last, len(graph.ops) - 1)
                lines.append(f" * {buffer.offset:8} {buffer.size:8}  {buffer.first:3}..{last:<3}  {_comment(label)}")
            lines.append(" *")
        return "\n".join(lines) + "/\n"

    def _rest(self) -> str:
        program = self.program
        name, prefix = program.name, program.name.upper()
        x = "float" if self._float_input() else "uint8_t"
        offset = program.train_memory.offsets[program.train.inputs["x"]]
        digits = ", ".join(f"0x{byte:02x}" for byte in fingerprint_bytes(program.description.fingerprint))
        return f"""static const uint8_t fingerprint[TINYTL_FINGERPRINT_BYTES] = {{{digits}}};

{x} *{name}_input(void) {{ return ({x} *)(void *)((uint8_t *)arena + {offset}); }}

void {name}_reset(void) {{
  memset(state, 0, sizeof state);
  memcpy(state, initial_state, sizeof initial_state);
  steps = 0;
  ready = true;
}}

int {name}_save(uint8_t buffer[{prefix}_STATE_BYTES]) {{
  if (buffer == NULL) return TINYTL_ERROR_NULL;
  if (!ready) return TINYTL_ERROR_NOT_READY;
  tinytl_write_state(buffer, fingerprint, {FORMAT_VERSION}, steps, state, sizeof state);
  return TINYTL_OK;
}}

int {name}_restore(const uint8_t buffer[{prefix}_STATE_BYTES]) {{
  if (buffer == NULL) return TINYTL_ERROR_NULL;
  TRY(tinytl_read_state(buffer, fingerprint, {FORMAT_VERSION}, &steps, state, sizeof state));
  ready = true;
  return TINYTL_OK;
}}
"""


def signature(program: MicroProgram, function: str) -> str:
    """The declaration of a function of the program, without its type."""
    train = program.train
    x = "float" if train.inputs["x"].dtype == "float32" else "uint8_t"
    if function == "infer":
        return f"{program.name}_infer(const {x} *x, float *logits)"
    y = "int32_t y" if train.inputs["y"].dtype == "int32" else "const float *y"
    return f"{program.name}_train_step(const {x} *x, {y}, float learning_rate, float *loss, int32_t *correct)"


def describe(op: Op) -> str:
    """An operator in a comment."""
    if op.kind == "rows":
        ops = op.attributes["plan"].ops
        return _comment(f"row by row, {len(ops)} operators from {ops[0].origin} to {ops[-1].origin}")
    ends = [t for t in (op.inputs[:1] + op.outputs[:1]) if t is not None]
    shapes = " -> ".join("x".join(map(str, image(t))) for t in ends)
    activation = op.attributes.get("activation", "NONE")
    extras = [
        *([activation] * (activation != "NONE" and not op.kind.endswith("gradient"))),
        *(["added"] * bool(op.attributes.get("accumulates"))),
        *(["masked below"] * bool(op.attributes.get("mask_below"))),
    ]
    return _comment(", ".join([f"{op.origin}: {op.kind.replace('_', ' ')} {shapes}", *extras]))


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("/*", "/ *")


def _optimizer(optimizer) -> str:
    if optimizer.name == "adam":
        fields = {
            "kind": "TINYTL_ADAM",
            **{n: float_literal(getattr(optimizer, n)) for n in ("beta_1", "beta_2", "epsilon")},
        }
    elif optimizer.momentum:
        nesterov = "true" if optimizer.nesterov else "false"
        fields = {"kind": "TINYTL_MOMENTUM", "nesterov": nesterov, "momentum": float_literal(optimizer.momentum)}
    else:
        fields = {"kind": "TINYTL_SGD"}
    fields["weight_decay"] = float_literal(optimizer.weight_decay)
    fields["gradient_scale"] = "1.0f"
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"
