"""Holds an exported file against Keras before it is handed over.

What is compared is the *update* of every variable, not the loss: a missing gradient lowers the loss too, only slower.
Each step starts Keras from the state that LiteRT has reached, so that rounding does not add up over the steps.
"""

from __future__ import annotations

import json

import numpy as np

from tflite_export.description import Description

LEARNING_RATES = (0.002, 0.01, 0.05)  # of the steps; the largest last, for it may throw a network off
TOLERANCE = 1e-2  # of ||update||; a ReLU that switches by rounding alone moves less than that
_ROUNDING = np.finfo(np.float32).eps  # half of it is lost by storing a new value here, half in Keras, of ||variable||


class VerificationError(ValueError):
    """LiteRT computed something else than Keras. The message names the kernel set, the variable and the difference."""


def verify_export(content: bytes, model, description: Description) -> float:
    """Runs `content` in LiteRT, with the builtin kernels and with XNNPACK, and compares it with `model`.

    Returns:
        The largest ||update - Keras's|| / ||Keras's update|| of any variable; of the steps, the median counts.

    Raises:
        VerificationError: beyond `TOLERANCE`, or a signature does not do what the format says.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    reference = _KerasReference(model, description)
    worst = 0.0
    for kernels in (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, OpResolverType.AUTO):
        name = "XNNPACK" if kernels is OpResolverType.AUTO else "the builtin kernels"
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
        runners = {key: interpreter.get_signature_runner(key) for key in interpreter.get_signature_list()}
        _check_info(runners, description)
        _check_inference(runners, reference, name)
        differences = _check_training(runners, reference, name)
        worst = max(worst, *differences.values())
        _check_restore(runners, reference, name)
    return worst


class _KerasReference:
    """Keras's side: batches, outputs and training steps from a given state, without touching the model."""

    def __init__(self, model, description: Description):
        import keras

        self.model, self.description = model, description
        self.names = [v.path for v in model.trainable_variables]
        self.frozen = [v.numpy().copy() for v in model.non_trainable_variables]
        self.initial = {v.path: v.numpy().copy() for v in model.trainable_variables}
        from_logits = description.output_activation == "linear"
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
        self.random = np.random.default_rng(0)

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Random pixels as the description scales them, or noise where it does not; random labels."""
        shape = (size, *self.description.input_shape)
        scale, offset = self.description.input_scale, self.description.input_offset
        x = self.random.normal(size=shape)
        if (scale, offset) != (1.0, 0.0):
            x = self.random.uniform(0, 255, size=shape) * scale + offset
        return x.astype(np.float32), self.random.integers(0, self.description.classes, size).astype(np.int32)

    def infer(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.model(x, training=False))

    def step(self, state: dict[str, np.ndarray], x, y, learning_rate) -> tuple[float, dict[str, np.ndarray]]:
        """Loss and new state of one SGD step."""
        import keras
        import tensorflow as tf

        values = [tf.constant(state[name]) for name in self.names]
        with tf.GradientTape() as tape:
            tape.watch(values)
            outputs, _ = self.model.stateless_call(values, self.frozen, x, training=False)
            loss = self._loss(y, outputs)
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        variables = [keras.Variable(value) for value in values]
        keras.optimizers.SGD(learning_rate).apply(gradients, variables)
        return float(loss), {name: v.numpy().copy() for name, v in zip(self.names, variables, strict=True)}

    def _loss(self, y, outputs):
        import keras

        smoothing = self.description.label_smoothing
        if not smoothing:
            return self.loss(y, outputs)
        from_logits = self.description.output_activation == "linear"
        one_hot = keras.ops.one_hot(y, self.description.classes)
        return keras.losses.CategoricalCrossentropy(from_logits, label_smoothing=smoothing)(one_hot, outputs)


def _check_info(runners, description: Description) -> None:
    text = runners["info"](request=np.zeros(1, np.float32))["json"].tobytes()
    if json.loads(text) != json.loads(description.to_json()):
        raise VerificationError("the signature 'info' does not return the description that was written")


def _check_inference(runners, reference: _KerasReference, kernels: str) -> None:
    x, _ = reference.batch(reference.description.infer_batch_size)
    expected, got = reference.infer(x), runners["infer"](x=x)["output"]
    difference = np.linalg.norm(got - expected) / max(np.linalg.norm(expected), 1e-12)
    if not difference <= 1e-3:
        raise VerificationError(
            f"infer with {kernels}: the output differs from Keras's by {difference:.1e} of its norm"
        )


def _check_training(runners, reference: _KerasReference, kernels: str) -> dict[str, float]:
    state = _saved(runners)
    _expect_equal(state, reference.initial, f"save with {kernels}")
    steps = []
    for rate in LEARNING_RATES:
        x, y = reference.batch(reference.description.batch_size)
        loss, expected = reference.step(state, x, y, rate)
        if not np.isfinite(loss):
            raise VerificationError(
                "Keras's own loss on random input is not finite, so there is nothing to compare with. "
                "Check the model, or input_scale and input_offset; verify=False skips the comparison."
            )
        got_loss = runners["train"](x=x, y=y, learning_rate=np.array([rate], np.float32))["loss"][0]
        if not abs(got_loss - loss) <= 1e-3 * max(1.0, abs(loss)):
            raise VerificationError(f"train with {kernels}: loss {got_loss:.6f}, Keras has {loss:.6f}")
        new = _saved(runners)
        steps.append({name: update_difference(state[name], new[name], expected[name]) for name in state})
        state = new
    differences = {name: float(np.median([step[name] for step in steps])) for name in state}
    name, difference = max(differences.items(), key=lambda item: item[1])
    if not difference <= TOLERANCE:
        raise VerificationError(
            f"train with {kernels}: the update of {name!r} differs from Keras's by {difference:.1e} of its norm "
            f"(at most {TOLERANCE:.0e} is accepted). Please report the model; verify=False writes the file regardless."
        )
    return differences


def update_difference(before: np.ndarray, after: np.ndarray, expected: np.ndarray) -> float:
    """||after - expected|| / ||expected - before||, where the update is large enough to tell.

    The denominator grows by what keeps float32's rounding of the stored values below `TOLERANCE`.
    """
    error = np.linalg.norm(after.astype(np.float64) - expected)
    update = np.linalg.norm(expected.astype(np.float64) - before)
    floor = _ROUNDING / TOLERANCE * np.linalg.norm(before)
    return 0.0 if error == 0 else float(error / (update + floor)) if update + floor > 0 else float("inf")


def _check_restore(runners, reference: _KerasReference, kernels: str) -> None:
    runners["restore"](**reference.initial)
    _expect_equal(_saved(runners), reference.initial, f"restore with {kernels}")


def _saved(runners) -> dict[str, np.ndarray]:
    return runners["save"](request=np.zeros(1, np.float32))


def _expect_equal(got, expected, what: str) -> None:
    for name, value in expected.items():
        if name not in got or not np.array_equal(got[name], value):
            raise VerificationError(f"{what}: the value of {name!r} is not the one that was stored")
