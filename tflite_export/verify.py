"""Holds an exported file against a reference, Keras or the numpy evaluator, before it is handed over.

What is compared is the *update* of every variable, not the loss: a missing gradient lowers the loss too, only slower.
Each step starts the reference from the state that LiteRT has reached, so that rounding does not add up over the steps.

A ReLU whose input is within rounding of its kink may switch in one of the two alone. So a variable agrees if it does on
one of several batches, with the reference on the batch or on the batch with noise of the size of rounding: that reaches
the kink's other side, while a wrong gradient is wrong on every batch. Only where none agrees is the reference asked how
far such noise moves that same variable: one that it moves as far as the file is off is not determined, and reported.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tflite_export.reference import Reference
from tflite_export.runtime.info import Description

LEARNING_RATES = (0.002, 0.01, 0.05)  # of the steps; the largest last, for it may throw a network off
TOLERANCE = 1e-2  # of ||update||; a ReLU that switches by rounding alone moves less than that
_DRAWS = 4  # of a batch, before a difference counts
_NOISE = 1e-6  # of the input, relative
_ROUNDING = np.finfo(
    np.float32
).eps  # half of it is lost by storing a new value here, half in the reference, of ||variable||


class VerificationError(ValueError):
    """LiteRT and the reference disagree. The message names the kernel set, the variable and the difference."""


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a comparison found.

    Attributes:
        max_difference: the largest ||update - reference's|| / ||reference's update|| of any variable in any step.
        unmoved: those that the reference itself never moved (a dead ReLU behind them), of which nothing can be told.
        undetermined: those that noise of the size of rounding moves in the reference as far as the file is off.
        reference: what expected the updates.
    """

    max_difference: float
    unmoved: tuple[str, ...]
    reference: str = "Keras"
    undetermined: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Step:
    """What a step of both showed: the largest difference, the file's state after it, and the names of the variables
    that moved, and of those that are not determined."""

    difference: float
    state: dict[str, np.ndarray]
    moved: set[str]
    undetermined: set[str]


def verify_export(content: bytes, reference: Reference) -> Verification:
    """Runs the file in LiteRT with both kernel sets, and compares it with `reference`.

    Raises:
        VerificationError: beyond `TOLERANCE`, or a signature does not do what the format says.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    description = reference.description
    steps: list[Step] = []
    for kernels in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        name = "XNNPACK" if kernels is OpResolverType.AUTO else "the builtin kernels"
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
        runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
        _check_info(runners, description)
        check_inference(runners, reference, name)
        factory = _saved(runners)
        expect_equal(factory, reference.initial, f"save with {name}")
        steps += check_steps(runners, reference, factory, name)
        runners["restore"](**factory)
        expect_equal(_saved(runners), factory, f"restore with {name}")
    return found(steps, reference)


def found(steps: Sequence[Step], reference: Reference) -> Verification:
    """What all steps showed."""
    moved, undetermined = (set().union(*(getattr(step, of) for step in steps)) for of in ("moved", "undetermined"))
    return Verification(
        max(step.difference for step in steps),
        tuple(name for name in reference.names if name not in moved),
        reference.name,
        tuple(sorted(undetermined)),
    )


def _check_info(runners, description: Description) -> None:
    text = runners["info"](request=np.zeros(1, np.float32))["json"].tobytes()
    if json.loads(text) != json.loads(description.to_json()):
        raise VerificationError("the signature 'info' does not return the description that was written")


def check_inference(runners, reference: Reference, kernels: str) -> None:
    x = reference.images(reference.description.infer_batch_size)
    got = runners["infer"](**x)
    for name, expected in reference.infer(x).items():
        difference = np.linalg.norm(got[name] - expected) / max(np.linalg.norm(expected), 1e-12)
        if not difference <= 1e-3:
            which = "" if name == "output" else f" {name!r}"
            raise VerificationError(
                f"infer with {kernels}: the output{which} differs from {reference.name}'s by {difference:.1e} of its "
                "norm"
            )


def check_steps(runners, reference: Reference, state, kernels: str) -> Iterator[Step]:
    """A step at each of `LEARNING_RATES` from `state` on, in the second of which one row does not count."""
    for number, rate in enumerate(LEARNING_RATES):
        ignored = 1 if number == 1 and reference.description.batch_size > 1 else 0
        step = check_step(runners, reference, state, rate, ignored, kernels)
        yield step
        state = step.state


def check_step(runners, reference: Reference, state, rate: float, ignored: int, kernels: str) -> Step:
    """Takes steps from `state`, until every variable has agreed with `reference` on one of the batches.

    Raises:
        VerificationError: one of them does not, and is determined.
    """
    size = reference.description.batch_size
    least, noise = dict.fromkeys(state, np.inf), dict.fromkeys(state, 0.0)
    moved: set[str] = set()
    for _ in range(_DRAWS):
        x, y = reference.images(size), reference.labels(size, ignored)
        loss, expected = reference.step(state, x, y, size - ignored, rate)
        if not np.isfinite(loss):
            raise VerificationError(
                f"{reference.name}'s own loss on random input is not finite, so there is nothing to compare with. "
                "Check the model, or input_scale and input_offset; verify=False skips the comparison."
            )
        got_loss = _take_step(runners, x, y, size - ignored, rate, reference.description.micro_batch, kernels)
        if not abs(got_loss - loss) <= 1e-3 * max(1.0, abs(loss)):
            raise VerificationError(f"train with {kernels}: loss {got_loss:.6f}, {reference.name} has {loss:.6f}")
        new = _saved(runners)
        moved.update(name for name in state if np.any(expected[name] != state[name]))
        least = _each(np.fmin, least, _differences(reference, rate, state, new, expected))
        if max(least.values()) > TOLERANCE:
            _, noisy = reference.step(state, reference.with_noise(x, _NOISE), y, size - ignored, rate)
            least = _each(np.fmin, least, _differences(reference, rate, state, new, noisy))
            noise = _each(np.fmax, noise, _differences(reference, rate, state, noisy, expected))
        if max(least.values()) <= TOLERANCE:
            return Step(max(least.values()), new, moved, set())
        state = new  # not restored: that would also mend accumulators that a step leaves behind
    off = {name for name in least if least[name] > TOLERANCE}
    wrong = max(off, key=lambda name: least[name] if least[name] > noise[name] else -1.0)
    if least[wrong] <= noise[wrong]:
        return Step(max(least.values()), new, moved, off)
    approximated = reference.description.activation_gradients != "exact"
    hint = "With activation_gradients='one_bit', swish must be Keras's own (silu), not written out. " * approximated
    raise VerificationError(
        f"train with {kernels}: the update of {wrong!r} differs from {reference.name}'s by {least[wrong]:.1e} of its "
        f"norm (at most {TOLERANCE:.0e} is accepted). {hint}"
        "Please report the model; verify=False writes the file regardless."
    )


def _each(choose, kept: Mapping[str, float], differences: Mapping[str, float]) -> dict[str, float]:
    return {name: float(choose(kept[name], differences[name])) for name in kept}


def _take_step(runners, x, y, valid: int, rate: float, micro_batch: int | None, kernels: str) -> float:
    """The loss of one step, in whose batch the first `valid` rows count."""
    learning_rate = np.array([rate], np.float32)
    if micro_batch is None:
        return runners["train"](**x, **y, learning_rate=learning_rate)["loss"][0]
    loss = 0.0
    given = {**x, **y}
    for start in range(0, len(next(iter(x.values()))), micro_batch):
        rows = {name: value[start : start + micro_batch] for name, value in given.items()}
        mean = runners["accumulate"](**rows)["loss"][0]
        loss += mean * max(0, min(valid - start, micro_batch)) / valid
    if runners["apply"](learning_rate=learning_rate)["applied"][0] != 1:
        raise VerificationError(f"apply with {kernels}: refused gradients that are finite in Keras")
    return loss


def _differences(reference: Reference, rate: float, state, new, expected) -> dict[str, float]:
    """How far each variable's update from `state` to `new` is from that to `expected`.

    Adam divides a gradient by its own size, so where that is as small as rounding, rounding decides on the step. What
    Adam keeps, m and v, is compared by value, and a weight with the step that follows from the file's own m and v.
    """
    optimizer = reference.description.optimizer
    if optimizer["name"] == "adam":
        stepped = {name: _adam_step(name, rate, state, new, optimizer) for name in reference.initial}
        expected = {**expected, **stepped}
    whole = _whole_updates(state, expected)
    return {name: update_difference(state[name], new[name], expected[name], whole[_role(name)]) for name in state}


def _adam_step(name: str, rate: float, state, new, settings: Mapping) -> np.ndarray:
    m, v = (new[f"{name}/{slot}"].astype(np.float64) for slot in "mv")
    decayed = state[name].astype(np.float64) * (1 - rate * settings["weight_decay"])
    return decayed + adam_change(m, v, rate, np.ravel(new["step"])[0], settings)


def adam_change(m: np.ndarray, v: np.ndarray, rate: float, step: float, settings: Mapping) -> np.ndarray:
    """What Adam adds to a weight in its step number `step`, after which it keeps m and v (Kingma and Ba, 2015)."""
    rate = rate * np.sqrt(1 - settings["beta_2"] ** step) / (1 - settings["beta_1"] ** step)
    return -rate * m / (np.sqrt(v) + settings["epsilon"])


def _whole_updates(state, expected) -> dict[str, float]:
    """||update|| of all weights together, of all momenta, and so on."""
    squares: dict[str, float] = {}
    for name, before in state.items():
        square = np.sum((expected[name].astype(np.float64) - before) ** 2)
        squares[_role(name)] = squares.get(_role(name), 0.0) + float(square)
    return {role: square**0.5 for role, square in squares.items()}


def _role(name: str) -> str:
    """What a variable of the file is: "m", "v", "momentum", "step", or "" for a weight."""
    role = name.rsplit("/", 1)[-1]
    return role if role in ("m", "v", "momentum", "step") else ""


def update_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray, whole: float = 0.0) -> float:
    """||after - expected|| / ||expected - before||, where the update is large enough to tell.

    The denominator grows by what keeps float32's rounding below `TOLERANCE`: that of the stored values, and that of the
    `whole` update, ||expected - before|| of all variables together. Some gradients are sums that cancel to nothing but
    rounding: attention does not depend on the bias of its keys, so neither Keras nor LiteRT knows its update.
    """
    error = np.linalg.norm(after.astype(np.float64) - expected)
    update = np.linalg.norm(expected.astype(np.float64) - before)
    floor = _ROUNDING / TOLERANCE * (np.linalg.norm(before) + whole)
    return 0.0 if error == 0 else float(error / (update + floor)) if update + floor > 0 else float("inf")


def _saved(runners) -> dict[str, np.ndarray]:
    return runners["save"](request=np.zeros(1, np.float32))


def expect_equal(got, expected, what: str) -> None:
    for name, value in expected.items():
        if name not in got or not np.array_equal(got[name], value):
            raise VerificationError(f"{what}: the value of {name!r} is not the one that was stored")
