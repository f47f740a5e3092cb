"""What was generated, and its price."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from tflite_export.micro.int8_activations import int8_operators
from tflite_export.micro.program import MicroProgram, cost


@dataclasses.dataclass(frozen=True)
class MicroReport:
    """The outcome of `generate`.

    Attributes:
        path: the C file.
        trainable_names: what trains.
        arena_bytes: x, activations, gradients and workspaces, of training and inference, which share it.
        state_bytes: what trains and what the optimiser keeps, in RAM.
        input_bytes: x, which lies in the arena until it is read.
        ram_bytes: arena, state, and `stack_bytes`, an allowance.
        constant_bytes: frozen kernels and biases, and the tables of what goes row by row, in flash.
        initial_bytes: the initial values of what trains, in flash.
        flash_bytes: both, and `code_bytes`, an allowance.
        train_arena_bytes, infer_arena_bytes: what each function alone would need.
        step_multiply_adds, infer_multiply_adds: of the convolutions of a step and of an inference.
        int8_operators: how many layers of an inference write int8 maps.
        row_operators: how many operators of a step are computed row by row.
        given_up: what the budget took.
        max_difference: the largest ||update - expected|| / ||expected|| of any variable in verification; None where
            there was none.
        quantization_difference: how far the logits are from those with float kernels and activations, as a part of
            their norm.
    """

    path: pathlib.Path
    trainable_names: tuple[str, ...]
    arena_bytes: int
    state_bytes: int
    input_bytes: int
    stack_bytes: int
    ram_bytes: int
    constant_bytes: int
    initial_bytes: int
    code_bytes: int
    flash_bytes: int
    train_arena_bytes: int
    infer_arena_bytes: int
    step_multiply_adds: int
    infer_multiply_adds: int
    int8_operators: int
    row_operators: int
    ram_budget: int | None
    flash_budget: int | None
    given_up: Sequence[str]
    max_difference: float | None
    quantization_difference: float | None

    @classmethod
    def of(cls, program: MicroProgram, path, budget, verification) -> MicroReport:
        rows = [op.attributes["plan"] for op in program.train.ops if op.kind == "rows"]
        return cls(
            path=path,
            trainable_names=tuple(v.name for v in program.variables),
            arena_bytes=program.arena_bytes,
            state_bytes=program.state_bytes,
            input_bytes=program.input_bytes,
            stack_bytes=program.stack_bytes,
            ram_bytes=program.ram_bytes,
            constant_bytes=program.constant_bytes,
            initial_bytes=4 * program.trainable_count,
            code_bytes=program.code_bytes,
            flash_bytes=program.flash_bytes,
            train_arena_bytes=program.train_memory.total_bytes,
            infer_arena_bytes=program.infer_memory.total_bytes,
            step_multiply_adds=cost(program.train),
            infer_multiply_adds=cost(program.infer),
            int8_operators=len(int8_operators(program.forward)),
            row_operators=sum(len(plan.ops) for plan in rows),
            ram_budget=budget.ram,
            flash_budget=budget.flash,
            given_up=program.given_up,
            max_difference=None if verification is None else verification.max_difference,
            quantization_difference=None if verification is None else verification.quantization_difference,
        )

    def __str__(self) -> str:
        names = self.trainable_names
        ratio = self.step_multiply_adds / max(1, self.infer_multiply_adds)
        rows = [
            ("program", str(self.path)),
            ("trains", f"{len(names)} variables, {self.initial_bytes // 4:,} numbers, from {names[0]!r} on"),
            ("RAM", f"{self.ram_bytes:,} bytes{_of(self.ram_budget)}"),
            (
                "  arena",
                f"{self.arena_bytes:,}, x with {self.input_bytes:,} in it (inference alone {self.infer_arena_bytes:,})",
            ),
            ("  state", f"{self.state_bytes:,}"),
            ("  stack and C library", f"{self.stack_bytes:,}, an allowance"),
            ("flash", f"{self.flash_bytes:,} bytes{_of(self.flash_budget)}"),
            ("  kernels, biases, tables", f"{self.constant_bytes:,}"),
            ("  initial values", f"{self.initial_bytes:,}"),
            ("  code", f"{self.code_bytes:,}, an allowance"),
            ("multiply-adds of a step", f"{self.step_multiply_adds:,} ({ratio:.2f} x inference)"),
            ("multiply-adds of inference", f"{self.infer_multiply_adds:,}"),
            ("int8 activations", f"of {self.int8_operators} layers" if self.int8_operators else "none"),
            ("row by row", f"{self.row_operators} operators of a step" if self.row_operators else "nothing"),
            *(("given up", text) for text in self.given_up),
            ("update's distance to the reference", _part(self.max_difference)),
            ("logits' distance to the float network", _part(self.quantization_difference)),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def _of(budget: int | None) -> str:
    return "" if budget is None else f" of {budget:,}"


def _part(difference: float | None) -> str:
    return "not verified" if difference is None else f"{difference:.1e} of its length"
