"""Holds an exported file against a reference, Keras or the numpy evaluator, before it is handed over.

What is compared is the *update* of every variable, not the loss: a missing gradient lowers the loss too, only slower.
Each step starts the reference from the state that LiteRT has reached, so that rounding does not add up over the steps.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

import numpy as np

from tflite_export.reference import Reference
from tflite_export.runtime.info import Description

LEARNING_RATES = (0.002, 0.01, 0.05)  # of the steps; the largest last, for it may throw a network off
TOLERANCE = 1e-2  # of ||update||; a ReLU that switches by rounding alone moves less than that
_DRAWS = 4  # of a batch, before a difference counts: a ReLU at its kink switches on one batch, a wrong gradient on all
_NOISE = 1e-6  # relative, on the input: what an ill-conditioned network makes of it in theory cannot be asked of LiteRT
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
        reference: what expected the updates.
    """

    max_difference: float
    unmoved: tuple[str, ...]
    reference: str = "Keras"


def verify_export(content: bytes, reference: Reference) -> Verification:
    """Runs the file in LiteRT with both kernel sets, and compares it with `reference`.

    Raises:
        VerificationError: beyond `TOLERANCE`, or a signature does not do what the format says.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    description = reference.description
    worst, moved = 0.0, set()
    for kernels in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        name = "XNNPACK" if kernels is OpResolverType.AUTO else "the builtin kernels"
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
        runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
        _check_info(runners, description)
        check_inference(runners, reference, name)
        factory = _saved(runners)
        expect_equal(factory, reference.initial, f"save with {name}")
        state = factory
        for number, rate in enumerate(LEARNING_RATES):
            ignored = 1 if number == 1 and description.batch_size > 1 else 0
            difference, state, now_moved = check_step(runners, reference, state, rate, ignored, name)
            worst, moved = max(worst, difference), moved | now_moved
        runners["restore"](**factory)
        expect_equal(_saved(runners), factory, f"restore with {name}")
    return Verification(worst, tuple(name for name in reference.names if name not in moved), reference.name)


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


def check_step(runners, reference: Reference, state, rate: float, ignored: int, kernels: str):
    """(largest difference, state after the step, variables that moved)."""
    size = reference.description.batch_size
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
        name, difference = _largest_difference(reference, state, new, expected)
        if difference > TOLERANCE:
            _, noisy = reference.step(state, reference.with_noise(x, _NOISE), y, size - ignored, rate)
            _, sensitivity = _largest_difference(reference, state, noisy, expected)
        if difference <= TOLERANCE or difference <= sensitivity:
            return difference, new, {name for name in state if np.any(expected[name] != state[name])}
        state = new  # not restored: that would also mend accumulators that a step leaves behind
    approximated = reference.description.activation_gradients != "exact"
    hint = "With activation_gradients='one_bit', swish must be Keras's own (silu), not written out. " * approximated
    raise VerificationError(
        f"train with {kernels}: the update of {name!r} differs from {reference.name}'s by {difference:.1e} of its "
        f"norm (at most {TOLERANCE:.0e} is accepted). {hint}"
        "Please report the model; verify=False writes the file regardless."
    )


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


def _largest_difference(reference: Reference, state, new, expected) -> tuple[str, float]:
    whole = _whole_updates(state, expected)
    differences = {name: _difference(reference, name, state, new, expected, whole) for name in state}
    return max(differences.items(), key=lambda item: item[1])


def _difference(reference: Reference, name: str, state, new, expected, whole: Mapping[str, float]) -> float:
    """Adam's first steps are like the gradient's sign, which rounding turns where it is nearly zero: weights are then
    compared by direction, and what Adam keeps by value. A gradient that is rounding alone has no direction."""
    values = state[name], new[name], expected[name]
    if reference.description.optimizer["name"] != "adam" or name not in reference.initial:
        return update_difference(*values, whole[_role(name)])
    moment = f"{name}/m"
    if np.linalg.norm(expected[moment].astype(np.float64) - state[moment]) <= _ROUNDING * whole["m"]:
        return 0.0
    return 10 * turned(*values)


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


def turned(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """1 - the cosine between the update and the expected one."""
    update, expected = (np.ravel(value.astype(np.float64) - before) for value in (after, expected))
    norms = np.linalg.norm(update) * np.linalg.norm(expected)
    if norms == 0:
        return 0.0 if not update.any() and not expected.any() else 1.0
    return max(0.0, 1 - float(update @ expected) / norms)


def _saved(runners) -> dict[str, np.ndarray]:
    return runners["save"](request=np.zeros(1, np.float32))


def expect_equal(got, expected, what: str) -> None:
    for name, value in expected.items():
        if name not in got or not np.array_equal(got[name], value):
            raise VerificationError(f"{what}: the value of {name!r} is not the one that was stored")
