"""The numpy evaluator's side of a comparison, for files that no Keras model stands behind.

What it proves of a written file, step by step:
1. The gradients that the compiler derived, evaluated by numpy in double precision before any pass has touched them, are
   those of the loss: for every variable the derivative along a random direction is compared with the central difference
   of the *forward pass alone* and of the host's own formula of the loss (`gradient_check`). Nothing of the rules for
   gradients is used there. A gradient that is wrong by a part r of its norm gets through with a probability of about
   `gradient_check.TOLERANCE` / r.
2. Those gradients, taken through the optimizer's formulas in numpy, give the update that the file makes in the runtime:
   every entry of every variable, by the same measure as against Keras.
Together: what the runtime does is the step that the loss and the forward pass define. That the forward pass is that of
the original file is another comparison, `verify_inference`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tflite_export import losses
from tflite_export.builder import Builder
from tflite_export.evaluate import evaluate
from tflite_export.from_tflite.gradient_check import activations_of, check_gradient
from tflite_export.graph import Graph
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.reference import Reference
from tflite_export.runtime.info import Description
from tflite_export.step_loss import final_layer, loss_of
from tflite_export.training import gradients_of, in_order
from tflite_export.verify import adam_change

_FEW = 2  # rows: with one, a sum over the batch that is missing would not show
_BESIDE = 1e-3  # the step of a weight, times a normal random number, to where gradients are checked


class NumpyReference(Reference):
    """What numpy computes, in double precision, of a forward graph.

    Args:
        forward: gives the canonical forward graph on so many rows.
        description: of the file.
    """

    name = "the numpy evaluator"

    def __init__(self, forward: Callable[[int], Graph], description: Description):
        super().__init__(description)
        self.inference = forward(description.infer_batch_size)
        self.gradients = _gradients(forward(description.batch_size), description)
        self.few = forward(min(description.batch_size, _FEW))
        self.gradients_of_few = _gradients(self.few, description)
        self.variables = {variable.name: variable for variable in self.inference.variables}
        self.initial = {name: self.variables[name].initial for name in self.names}
        self.unchecked = set(self.names)  # those whose gradient was zero so far
        self.zero: set[str] = set()  # those of them of which differences say so too

    def infer(self, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"output": evaluate(self.inference, x)["output"]}

    def step(self, state, x, y, valid: int, learning_rate: float) -> tuple[float, dict[str, np.ndarray]]:
        """As in `Reference`. The gradients at `state` are checked first, each once when it is not zero, and once where
        it is: one that is zero by mistake would stay so in every step.

        Raises:
            VerificationError: a gradient is not that of the loss.
        """
        state = {name: np.asarray(value, np.float64) for name, value in state.items()}
        weights = {self.variables[name]: state[name].reshape(self.variables[name].shape) for name in self.names}
        self._check_gradients(weights)
        values = evaluate(self.gradients, {**self.given(x, weights), **y}, dict(weights))
        gradients = {name: values[name] for name in self.names}
        new = _updated(state, gradients, learning_rate, self.description)
        return float(values["loss"][0]), {name: value.astype(np.float32) for name, value in new.items()}

    def given(self, x: dict[str, np.ndarray], weights) -> dict[str, np.ndarray]:
        """Everything but the labels that the graph takes on `x`, where `weights` are its variables' values."""
        return x

    def _check_gradients(self, weights) -> None:
        """On a batch of few rows: the rules are the same for all sizes, and the forward pass is run often.

        It is done a little beside `weights`. Where biases and scales are still zeros, whole maps can be, right at the
        kink of the ReLU behind them, and there central differences have half of each side's slope.
        """
        if not self.unchecked:
            return
        weights = {v: value + _BESIDE * self.random.normal(size=v.shape) for v, value in weights.items()}
        size = min(self.description.batch_size, _FEW)
        x, y = self.given(self.images(size), weights), self.labels(size)
        gradients = evaluate(self.gradients_of_few, {**x, **y}, dict(weights))
        batch = (activations_of(self.few, x, weights), y["y"], self.description, self.random)
        for name in self.names:
            zero = not gradients[name].any()
            if name not in self.unchecked or (zero and name in self.zero):
                continue
            check_gradient(self.few, self.variables[name], gradients[name], weights, *batch)
            if zero:
                self.zero.add(name)
            else:
                self.unchecked.discard(name)


def _gradients(forward: Graph, description: Description) -> Graph:
    """x, y -> loss and the gradient of every variable, by its name."""
    b = Builder("loss")
    loss = losses.resolve(description.loss, description.label_smoothing, *final_layer(forward))
    step = loss_of(b, forward, loss)
    gradients = gradients_of(b, forward, step)
    outputs = {"loss": step.loss, **{variable.name: gradient for variable, gradient in gradients.items()}}
    inputs = {**forward.inputs, **step.labels}
    return remove_dead_code(Graph("gradients", inputs, outputs, in_order(forward, b)))


def _updated(state, gradients, rate: float, description: Description) -> dict[str, np.ndarray]:
    """The state after one step of Keras's optimizer of the description's name and settings."""
    gradients = _clipped(gradients, description.clip_norm)
    optimizer = dict(description.optimizer)
    formula = {"sgd": _sgd, "adam": _adam}[optimizer.pop("name")]
    new = {"step": state["step"] + 1} if "step" in state else {}
    for name, gradient in gradients.items():
        decayed = state[name] * (1 - rate * optimizer["weight_decay"])
        slots = {key: state[f"{name}/{key}"] for key in ("momentum", "m", "v") if f"{name}/{key}" in state}
        change, slots = formula(gradient.reshape(decayed.shape), slots, rate, new.get("step"), optimizer)
        new[name] = decayed + change
        new.update({f"{name}/{key}": value for key, value in slots.items()})
    return new


def _clipped(gradients, norm: float | None):
    if norm is None:
        return gradients
    length = np.sqrt(sum(np.sum(np.square(gradient)) for gradient in gradients.values()))
    return {name: gradient * min(1, norm / length) for name, gradient in gradients.items()}


def _sgd(gradient, slots, rate, step, settings):
    momentum = settings["momentum"]
    if not momentum:
        return -rate * gradient, {}
    velocity = momentum * slots["momentum"].reshape(gradient.shape) - rate * gradient
    return (momentum * velocity - rate * gradient if settings["nesterov"] else velocity), {"momentum": velocity}


def _adam(gradient, slots, rate, step, settings):
    m = settings["beta_1"] * slots["m"].reshape(gradient.shape) + (1 - settings["beta_1"]) * gradient
    v = settings["beta_2"] * slots["v"].reshape(gradient.shape) + (1 - settings["beta_2"]) * gradient**2
    return adam_change(m, v, rate, step, settings), {"m": m, "v": v}
