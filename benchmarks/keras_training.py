"""Training runs in Keras, from one state on chosen batches, and whether those determine what comes out."""

from __future__ import annotations

import dataclasses

import keras
import networks
import numpy as np
import tensorflow as tf
from differences import training_differences
from parity_cases import OPTIMIZERS

Batches = list[tuple[np.ndarray, np.ndarray]]
State = dict[str, np.ndarray]

_NOISE = 1e-5  # standard deviation; pixels have 1. What a few dozen layers add up in float32.
_NOISY_RUNS = 8
_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class Reference:
    """A training run in Keras.

    `losses` has one entry per step. `before` and `after` hold the trainable weights by path, and what the optimizer
    keeps beside them by the names in an exported file; `sensitivity` is the largest difference of any of them when the
    images change by `_NOISE`.
    """

    batches: Batches
    losses: list[float]
    before: State
    after: State
    sensitivity: float


class KerasTraining:
    """Trains `model`, whose weights have their old values again after every run.

    The gradients come from one tf.function, which all optimizers share: it takes seconds to trace, and then a tenth of
    an eager step's time.
    """

    def __init__(self, model: keras.Model, batch_size: int):
        self.model, self.batch_size = model, batch_size
        self.before = {variable.path: np.array(variable.numpy()) for variable in model.trainable_variables}
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)  # a converted model's head is linear
        values = [variable.value for variable in model.trainable_variables]

        @tf.function(autograph=False, reduce_retracing=True)
        def gradients(x, y):
            with tf.GradientTape() as tape:
                loss = loss_of(y, model(x, training=False))
            return loss, tape.gradient(loss, values)

        self.gradients = gradients

    def run(self, optimizer: str, learning_rate: float, batches: Batches) -> tuple[list[float], State]:
        """The loss of every step, and the weights and the optimizer's state after the last."""
        variables, losses = self.model.trainable_variables, []
        rule = OPTIMIZERS[optimizer](learning_rate)
        rule.build(variables)
        for x, y in batches:
            loss, gradients = self.gradients(tf.constant(x), tf.constant(y))
            rule.apply(gradients, variables)
            losses.append(float(loss))
        state = {variable.path: variable for variable in variables} | _slots(rule, list(self.before))
        after = {name: np.array(variable.numpy(), np.float32) for name, variable in state.items()}
        for variable in variables:
            variable.assign(self.before[variable.path])
        return losses, after

    def reference(self, optimizer: str, learning_rate: float, *, steps: int, seed: int, tolerance: float) -> Reference:
        """A run on the first batches on which float32 determines the outcome to `tolerance`, or on the best of some."""
        rng = np.random.default_rng(seed)
        shape = self.model.input_shape[1:]
        best = None
        for _ in range(_DRAWS):
            batches = [
                (networks.images(rng, self.batch_size, shape), networks.labels(rng, self.batch_size))
                for _ in range(steps)
            ]
            losses, after = self.run(optimizer, learning_rate, batches)
            before = {name: self.before.get(name, np.zeros_like(value)) for name, value in after.items()}
            sensitivity = 0.0
            for _ in range(_NOISY_RUNS):
                noisy = [(x + np.float32(_NOISE) * networks.images(rng, len(x), shape), y) for x, y in batches]
                _, other = self.run(optimizer, learning_rate, noisy)
                differences = training_differences(optimizer, before, other, after)
                sensitivity = max(sensitivity, *np.nan_to_num(list(differences.values()), nan=np.inf))
                if sensitivity > tolerance:
                    break
            if best is None or sensitivity < best.sensitivity:
                best = Reference(batches, losses, before, after, float(sensitivity))
            if best.sensitivity <= tolerance:
                break
        return best


def _slots(rule: keras.optimizers.Optimizer, paths: list[str]) -> dict[str, keras.Variable]:
    """The optimizer's state under the names that it has in an exported file."""
    if isinstance(rule, keras.optimizers.Adam):
        kept = {"m": rule._momentums, "v": rule._velocities}
    else:
        kept = {"momentum": rule.momentums} if rule.momentum else {}
    slots = {f"{path}/{key}": slot for key, all_slots in kept.items() for path, slot in zip(paths, all_slots)}
    return slots | ({"step": rule.iterations} if isinstance(rule, keras.optimizers.Adam) else {})
