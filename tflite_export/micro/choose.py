"""The budget chooses: how far back a program trains, and which lite residual branches.

Without a budget everything trains. With one, and without branches, training reaches back as far as fits. With branches,
the plan with the most of them is taken, and of those with as many the one that reaches farthest: an eighth of the
layers at a time, with the branches that train the fewest numbers first, the later first where two train as many. A
frozen branch that adds nothing is no part of the program.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Sequence

from tflite_export.graph import Graph
from tflite_export.memory_budget import BudgetTooSmall
from tflite_export.micro.program import STACK_BYTES, MicroProgram
from tflite_export.train_from import Layers

_PARTS = 8


@dataclasses.dataclass(frozen=True)
class Budget:
    """Bytes that a program may take; None: any number."""

    ram: int | None
    flash: int | None

    def arena(self, canonical: Graph, trained: Collection[str], optimizer) -> int:
        """What is left for the arena where these variables train; 0 where nothing says how much."""
        if self.ram is None:
            return 0
        count = sum(v.initial.size for v in canonical.variables if v.name in trained)
        return max(1, self.ram - STACK_BYTES - 4 * count * (1 + len(optimizer.slots)))

    def holds(self, program: MicroProgram) -> bool:
        fits_ram = self.ram is None or program.ram_bytes <= self.ram
        return fits_ram and (self.flash is None or program.flash_bytes <= self.flash)


def choose(
    layers: Layers, branches: Sequence[str], budget: Budget, compiled: Callable[[set[str]], MicroProgram]
) -> MicroProgram:
    """The program that trains most within `budget`; the same every time.

    Args:
        layers: every layer's name and those of its trainable variables, in forward order; the last one always trains.
        branches: the names of those that are lite residual branches.
        budget: what the program may take.
        compiled: the program that trains these variables.

    Raises:
        BudgetTooSmall: training the last layer alone does not fit; the message names the least that would do.
    """
    layers = [(name, list(names)) for name, names in layers if names]
    whole = compiled({name for _, names in layers for name in names})
    if budget.holds(whole):
        return whole
    position = {name: i for i, (name, _) in enumerate(layers)}
    branches = [name for name in branches if name in position]
    plain = [names for name, names in layers if name not in branches]
    farthest, program = _farthest(plain, budget, compiled)
    best = (0, -farthest, [], program)
    for reach in _reaches(farthest, len(plain)) if branches else ():
        first = next(i for i, (_, names) in enumerate(layers) if names == plain[reach])
        inside = [name for name in branches if position[name] >= first]
        inside.sort(key=lambda name: (_numbers(layers[position[name]][1], whole), -position[name]))
        if len(inside) <= best[0]:
            continue
        trained = {name for names in plain[reach:] for name in names}
        weights = [layers[position[name]][1] for name in inside]
        count, found = _most(functools.partial(_with_first, compiled, trained, weights), len(inside), budget)
        best = max(best, (count, -reach, inside[:count], found), key=lambda plan: plan[:2])
    count, reach, taken, program = best
    given_up = []
    if reach:
        last = next(name for name, names in layers if names == plain[-reach])
        given_up.append(f"{-reach} of {len(plain)} layers are frozen: training reaches back to {last!r}")
    if refused := [name for name in branches if name not in taken]:
        given_up.append(f"{len(refused)} of {len(branches)} branches are left out: {', '.join(refused)}")
    return dataclasses.replace(program, given_up=tuple(given_up))


def _with_first(compiled, trained: set[str], weights: Sequence[Sequence[str]], count: int) -> MicroProgram:
    """The program that trains the first `count` branches too, of which these are the weights."""
    return compiled(trained.union(*weights[:count]))


def _reaches(farthest: int, count: int) -> list[int]:
    """How many of the first layers to freeze: from the farthest reach to the last layer."""
    return sorted({farthest + (count - 1 - farthest) * part // _PARTS for part in range(_PARTS)})


def _most(with_first: Callable[[int], MicroProgram], count: int, budget: Budget) -> tuple[int, MicroProgram | None]:
    """The largest number of branches that fits, by bisection, and the program."""
    fewest, most, best = 0, count, None
    while fewest < most:
        middle = (fewest + most + 1) // 2
        program = with_first(middle)
        if budget.holds(program):
            fewest, best = middle, program
        else:
            most = middle - 1
    return fewest, best


def _farthest(plain, budget: Budget, compiled) -> tuple[int, MicroProgram]:
    """How many of the first layers are frozen, and the program."""
    fewest, most, best = 0, len(plain) - 1, None
    while fewest < most or best is None:
        frozen = (fewest + most) // 2
        program = compiled({name for names in plain[frozen:] for name in names})
        if budget.holds(program):
            best, most = program, frozen
        elif frozen == len(plain) - 1:
            raise _too_small(budget, program)
        else:
            fewest = frozen + 1
    return fewest, best


def _too_small(budget: Budget, program: MicroProgram) -> BudgetTooSmall:
    parts = []
    if budget.ram is not None and program.ram_bytes > budget.ram:
        parts.append(
            f"ram_budget={budget.ram:,} bytes is too small: training the last layer alone needs {program.ram_bytes:,} "
            f"(arena {program.arena_bytes:,} with x of {program.input_bytes:,}, state {program.state_bytes:,}, stack "
            f"{program.stack_bytes:,})"
        )
    if budget.flash is not None and program.flash_bytes > budget.flash:
        parts.append(
            f"flash_budget={budget.flash:,} bytes is too small: the network needs {program.flash_bytes:,} "
            f"(constants {program.constant_bytes:,}, the rest initial values and code)"
        )
    advice = "Take a smaller network or smaller images; of pixels in bytes the input takes a quarter (input_dtype)"
    ram = budget.ram is not None and program.ram_bytes > budget.ram
    return BudgetTooSmall(f"{'; '.join(parts)}. {advice}", program.ram_bytes if ram else program.flash_bytes)


def _numbers(names: Sequence[str], whole: MicroProgram) -> int:
    """How many numbers a branch trains."""
    return sum(v.initial.size for v in whole.variables if v.name in names)
