"""Training runs in Keras, from one state on chosen batches, and whether those determine what comes out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable

import keras
import networks
import numpy as np
import tensorflow as tf
from differences import training_differences
from keras_gradients import exact_gradients_of, gradients_of
from parity_cases import OPTIMIZERS

Batches = list[tuple]  # of inputs and targets, each an array, or a list or dict of arrays
State = dict[str, np.ndarray]

# Standard deviations: what a few dozen layers' rounding adds up to in float32. At the images, whose pixels have 1, and
# at every bias and beta on the way: noise that enters at the images alone dies down before the last kinks.
_IMAGE_NOISE, _BIAS_NOISE = 1e-5, 4e-6
_ENOUGH = 5


@dataclasses.dataclass(frozen=True)
class Reference:
    """A training run in Keras.

    `losses` has one entry per step. A state holds the trainable weights by path, and what the optimizer keeps beside
    them by the names in an exported file. `states` are those before the first step and behind each; `sensitivity` is
    the largest difference of any value of the last one when noise of the size of rounding disturbs every step.
    """

    batches: Batches
    losses: list[float]
    states: list[State]
    sensitivity: float

    @property
    def before(self) -> State:
        return self.states[0]

    @property
    def after(self) -> State:
        return self.states[-1]

    @property
    def starts(self) -> list[tuple[tuple, State]]:
        """The batch of every step, and the state that it starts from."""
        return list(zip(self.batches, self.states))


class KerasTraining:
    """Trains `model`, whose weights have their old values again after every run.

    The gradients come from one tf.function, which all optimizers share: it takes seconds to trace, and then a tenth of
    an eager step's time.

    Args:
        model: converted: its head is linear.
        draw: gives random inputs and targets of a batch. None: images for the only input, and classes.
        loss_of: the loss of targets and outputs, in the outputs' dtype. None: sparse cross-entropy from logits.
        deviation: standard deviation of the inputs.
        noisy_steps: how often a step of Keras is held against itself while a calm batch is looked for.
        noisy_runs: how often a whole run is.
        draws: how many batches at most a calm one is chosen from.
        runs: how many runs at most the calmest is chosen from.
    """

    def __init__(
        self,
        model: keras.Model,
        batch_size: int,
        *,
        draw: Callable[[np.random.Generator], tuple] | None = None,
        loss_of: Callable | None = None,
        deviation: float = 1.0,
        noisy_steps: int = 12,
        noisy_runs: int = 12,
        draws: int = 40,
        runs: int = 2,
    ):
        self.model, self.batch_size = model, batch_size
        self.draw = draw or self._images_and_labels
        self.deviation, self.draws, self.runs = deviation, draws, runs
        self.noisy_steps, self.noisy_runs = noisy_steps, noisy_runs
        self.biases = [variable for variable in model.variables if variable.path.endswith(("/bias", "/beta"))]
        self.before = {variable.path: np.array(variable.numpy()) for variable in model.trainable_variables}
        loss_of = loss_of or _cross_entropy
        self.gradients, self.exact_gradients = gradients_of(model, loss_of), exact_gradients_of(model, loss_of)

    def run(
        self, optimizer: str, learning_rate: float, batches: Batches, noise: np.random.Generator | None = None
    ) -> tuple[list[float], list[State]]:
        """The loss of every step; the weights and the optimizer's state before the first step and after each."""
        losses = []
        with self._started(optimizer, learning_rate) as rule:
            variables = self._variables(rule)
            states = [_values(variables)]
            for x, y in batches:
                loss, gradients = self._gradients(x, y, noise)
                rule.apply(gradients, self.model.trainable_variables)
                losses.append(float(loss))
                states.append(_values(variables))
        return losses, states

    def reference(self, optimizer: str, learning_rate: float, *, steps: int, seed: int, tolerance: float) -> Reference:
        """A run on batches whose gradients float32 finds to `tolerance`, disturbed or not, or the best of some draws.

        The differences that noise makes grow from step to step, with an optimizer like Adam fast; where those of the
        whole run stay far above `tolerance`, other batches may do better.
        """
        rng = np.random.default_rng(seed)
        best = None
        for _ in range(self.runs):
            batches = self._calm_batches(optimizer, learning_rate, steps, rng, tolerance)
            losses, states = self.run(optimizer, learning_rate, batches)
            differences = []
            for _ in range(self.noisy_runs):
                _, others = self.run(optimizer, learning_rate, batches, noise=rng)
                differences += training_differences(optimizer, states[0], others[-1], states[-1]).values()
            sensitivity = float(np.max(np.nan_to_num(differences, nan=np.inf)))
            if best is None or sensitivity < best.sensitivity:
                best = Reference(batches, losses, states, sensitivity)
            if best.sensitivity <= _ENOUGH * tolerance:
                break
        return best

    def single_steps(self, optimizer: str, learning_rate: float, starts: Iterable[tuple[tuple, State]]) -> list[State]:
        """The state that a step leaves on each of some batches, from a state of a `Reference` each.

        The gradients are those in float64: where a ReLU's input is within rounding of its kink, float32 Keras may be
        the one that goes the other way.
        """
        states = []
        with self._started(optimizer, learning_rate) as rule:
            variables = self._variables(rule)
            for (x, y), state in starts:
                for name, variable in variables.items():
                    variable.assign(state[name])
                _, gradients = self.exact_gradients(*_tensors(x, y))
                rule.apply([tf.cast(gradient, tf.float32) for gradient in gradients], self.model.trainable_variables)
                states.append(_values(variables))
        return states

    def another_step(self, optimizer: str, learning_rate: float, seed: int) -> Callable[[State], tuple[tuple, State]]:
        """A function that draws a batch and gives it, and the state that a single step on it leaves."""
        rng = np.random.default_rng(seed)

        def step(before: State) -> tuple[tuple, State]:
            batch = self.draw(rng)
            (after,) = self.single_steps(optimizer, learning_rate, [(batch, before)])
            return batch, after

        return step

    def _variables(self, rule: keras.optimizers.Optimizer) -> dict[str, keras.Variable]:
        return {variable.path: variable for variable in self.model.trainable_variables} | _slots(rule, [*self.before])

    def _calm_batches(
        self, optimizer: str, learning_rate: float, steps: int, rng: np.random.Generator, tolerance: float
    ) -> Batches:
        """Step by step, the first batch that is calm where the run then stands."""
        batches = []
        with self._started(optimizer, learning_rate) as rule:
            for _ in range(steps):
                draws = []
                while len(draws) < self.draws and not any(sensitivity <= tolerance for sensitivity, _ in draws):
                    batch = self.draw(rng)
                    draws.append((self._sensitivity(*batch, rng, enough=tolerance), batch))
                _, calmest = min(draws, key=lambda draw: draw[0])
                rule.apply(self._gradients(*calmest)[1], self.model.trainable_variables)
                batches.append(calmest)
        return batches

    def _images_and_labels(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        shape = self.model.input_shape[1:]
        return networks.images(rng, self.batch_size, shape), networks.labels(rng, self.batch_size)

    def _sensitivity(self, x, y, noise: np.random.Generator, enough: float) -> float:
        """The largest ||g' - g|| / ||g|| of a variable's gradient g, exact, and g' of float32, as it is and disturbed;
        stops above `enough`."""
        _, expected = self.exact_gradients(*_tensors(x, y))
        largest = max(map(_difference, self._gradients(x, y)[1], expected))
        for _ in range(self.noisy_steps):
            if largest > enough:
                break
            _, disturbed = self._gradients(x, y, noise)
            largest = max(largest, *map(_difference, disturbed, expected))
        return largest

    def _gradients(self, x, y, noise: np.random.Generator | None = None):
        """The loss, and the gradients of the trainable variables where images and biases have been disturbed."""
        if noise is None:
            return self.gradients(*_tensors(x, y))
        before = [np.array(variable.numpy()) for variable in self.biases]
        for variable, value in zip(self.biases, before):
            variable.assign(value + np.float32(_BIAS_NOISE) * noise.normal(size=value.shape).astype(np.float32))
        scale = np.float32(_IMAGE_NOISE * self.deviation)
        disturbed = keras.tree.map_structure(lambda a: a + scale * networks.images(noise, len(a), a.shape[1:]), x)
        result = self.gradients(*_tensors(disturbed, y))
        for variable, value in zip(self.biases, before):
            variable.assign(value)
        return result

    @contextlib.contextmanager
    def _started(self, optimizer: str, learning_rate: float):
        """The optimizer, built; behind it the weights are as before."""
        variables = self.model.trainable_variables
        rule = OPTIMIZERS[optimizer](learning_rate)
        rule.build(variables)
        yield rule
        for variable in variables:
            variable.assign(self.before[variable.path])


def _cross_entropy(y, logits):
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))


def _tensors(*arrays):
    return keras.tree.map_structure(tf.constant, arrays)


def _difference(gradient: tf.Tensor, expected: tf.Tensor) -> float:
    error, norm = np.linalg.norm(np.subtract(gradient, expected)), np.linalg.norm(expected)
    return float(error / norm) if norm else (float("inf") if error else 0.0)


def _values(variables: dict[str, keras.Variable]) -> State:
    return {name: np.array(variable.numpy(), np.float32) for name, variable in variables.items()}


def _slots(rule: keras.optimizers.Optimizer, paths: list[str]) -> dict[str, keras.Variable]:
    """The optimizer's state under the names that it has in an exported file."""
    if isinstance(rule, keras.optimizers.Adam):
        kept = {"m": rule._momentums, "v": rule._velocities}
    else:
        kept = {"momentum": rule.momentums} if rule.momentum else {}
    slots = {f"{path}/{key}": slot for key, all_slots in kept.items() for path, slot in zip(paths, all_slots)}
    return slots | ({"step": rule.iterations} if isinstance(rule, keras.optimizers.Adam) else {})
