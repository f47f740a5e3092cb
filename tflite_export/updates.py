"""The optimiser's operators, each behind the gate that it needs."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Op, Tensor, Variable
from tflite_export.stored_variables import zeros_beside


@dataclasses.dataclass(frozen=True)
class OptimizerState:
    """The variables that an optimiser keeps: by name, beside every trainable one, and the count of steps."""

    slots: dict[Variable, dict[str, Variable]]
    step: Variable | None

    @classmethod
    def of(cls, optimizer, variables) -> OptimizerState:
        slots = {variable: {name: zeros_beside(variable, name) for name in optimizer.slots} for variable in variables}
        return cls(slots, Variable("step", np.zeros(1, np.float32)) if optimizer.counts_steps else None)

    @property
    def variables(self) -> tuple[Variable, ...]:
        kept = [slot for slots in self.slots.values() for slot in slots.values()]
        return (*kept, *([] if self.step is None else [self.step]))


class Updates:
    """One step of an optimiser, variable by variable.

    Args:
        b: receives the operators.
        optimizer: `SGD` or `Adam`.
        state: what it keeps.
        learning_rate: float32 [1].
        gate: float32 [1]: 1, or 0 for a step that must leave no trace, whose gradients are zeros. None where the
            optimiser makes nothing of such gradients by itself (`zero_gradient_means_no_change`).
        whole: whether a variable's update is one OPTIMIZER_STEP, for runtimes that have a kernel for it.
    """

    def __init__(
        self, b: Builder, optimizer, state: OptimizerState, learning_rate: Tensor, gate: Tensor | None, whole=False
    ):
        self.b, self.optimizer, self.state, self.learning_rate, self.gate = b, optimizer, state, learning_rate, gate
        step = None
        if state.step is not None:
            step = b.add(b.read(state.step), gate)
            b.assign(state.step, step)
            step = b.maximum(step, constant(1))  # a refused first step divides by no zero
        self.whole = whole
        if whole:
            self.step = step and b.cast(step, "int32")
            self.passes = gate and b.compare("GREATER", gate, constant(0))
        else:
            self.rate = optimizer.prepare(b, learning_rate, step)

    def apply(self, variable: Variable, gradient: Tensor, only_if: Tensor | None = None) -> None:
        """Updates `variable` and what the optimiser keeps of it, but only if bool [1] `only_if` holds, where given."""
        b, slots = self.b, self.state.slots[variable]
        with b.at(variable.name):
            value = b.read(variable)
            values = {name: b.read(slot) for name, slot in slots.items()}
            if self.whole:
                self._apply_whole(
                    variable, gradient, {variable: value} | {slots[n]: v for n, v in values.items()}, only_if
                )
                return
            changes = self.optimizer.changes(b, value, values, gradient, self.rate, self.learning_rate)
            for name, change in changes.items():
                target, old = (variable, value) if name == "" else (slots[name], values[name])
                new = b.add(old, change if self.gate is None else b.mul(change, self.gate))
                if only_if is not None:
                    new = b.op("UPDATE_IF", (only_if, new, old), new.shape)
                b.assign(target, new)

    def _apply_whole(self, variable: Variable, gradient: Tensor, old: dict[Variable, Tensor], only_if: Tensor | None):
        value, *slots = old.values()
        new = tuple(Tensor(f"{target.name}/new", target.shape) for target in old)
        inputs = (gradient, value, self.learning_rate, self.step, *slots)
        self.b.copy(Op("OPTIMIZER_STEP", inputs, new, {"optimizer": self.optimizer}, variable.name))
        conditions = [condition for condition in (self.passes, only_if) if condition is not None]
        for (target, before), after in zip(old.items(), new, strict=True):
            for condition in conditions:
                after = self.b.op("UPDATE_IF", (condition, after, before), after.shape)
            self.b.assign(target, after)
