"""Goldens of bias gradients, optimisers, masks and element-wise operations."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from tests.micro import windows
from tests.micro.goldens import Call, Optimizer, Out, Variable

OPTIMIZERS = {
    "sgd": Optimizer(0, 0.1),
    "sgd decay": Optimizer(0, 0.1, weight_decay=0.05, gradient_scale=0.25),
    "momentum": Optimizer(1, 0.05, momentum=0.9, step=2),
    "nesterov": Optimizer(1, 0.05, nesterov=True, momentum=0.8, weight_decay=0.01, step=2),
    "adam": Optimizer(2, 0.01),
    "adam step 7": Optimizer(2, 0.01, beta_1=0.8, beta_2=0.99, epsilon=1e-3, weight_decay=0.1, step=7),
}


def _keras_optimizer(o: Optimizer):
    decay = o.weight_decay or None
    if o.kind < 2:
        return keras.optimizers.SGD(o.learning_rate, o.momentum, o.nesterov, weight_decay=decay)
    return keras.optimizers.Adam(o.learning_rate, o.beta_1, o.beta_2, o.epsilon, weight_decay=decay)


def updated(o: Optimizer, gradient: np.ndarray, generator: np.random.Generator) -> Variable:
    """A random variable in the midst of training, and what Keras's optimiser makes of it."""
    value = generator.normal(size=gradient.shape).astype(np.float32)
    optimizer = _keras_optimizer(o)
    variable = keras.Variable(value)
    optimizer.build([variable])
    optimizer.iterations.assign(o.step - 1)
    slots = [v for v in optimizer.variables if v.shape == variable.shape]
    before = [np.abs(generator.normal(size=value.shape)).astype(np.float32) * 0.1 for _ in slots]
    for slot, start in zip(slots, before):
        slot.assign(start)
    optimizer.apply([tf.constant(gradient * o.gradient_scale)], [variable])
    outs = [Out(v.numpy(), start) for v, start in zip((variable, *slots), (value, *before))]
    return Variable(*outs[: o.kind + 1])


def updates() -> list[Call]:
    generator = np.random.default_rng(1)
    calls = []
    for name, optimizer in OPTIMIZERS.items():
        for count in (1, 3, 21):
            gradient = generator.normal(size=count).astype(np.float32)
            variable = updated(optimizer, gradient, generator)
            calls.append(Call(f"update {name} {count}", "tinytl_update", (optimizer, variable, gradient, count)))
    return calls


def biases() -> list[Call]:
    generator = np.random.default_rng(2)
    calls = []
    for i, (pixels, channels) in enumerate([(1, 1), (3, 7), (12, 8), (25, 9), (49, 16), (7, 21), (64, 24)]):
        dy = generator.normal(size=(pixels, channels)).astype(np.float32)
        mask, packed = windows.random_mask(generator, dy.shape)
        before = generator.normal(size=channels).astype(np.float32)
        size = f"{pixels} x {channels}"
        for kind, chosen, masked in (("masked", packed, dy * mask), ("plain", None, dy)):
            masked = masked.astype(np.float32)
            sums = masked.sum(0, dtype=np.float64)
            calls.append(
                Call(
                    f"bias gradient {kind} {size}",
                    "tinytl_bias_gradient",
                    (Out(masked, dy), chosen, pixels, channels, Out((sums + before).astype(np.float32), before)),
                )
            )
            optimizer = dataclasses.replace(list(OPTIMIZERS.values())[i % len(OPTIMIZERS)], epsilon=1e-3)
            variable = updated(optimizer, sums.astype(np.float32), generator)
            calls.append(
                Call(
                    f"bias update {kind} {size}",
                    "tinytl_bias_update",
                    (Out(masked, dy), chosen, pixels, channels, variable, optimizer),
                )
            )
        masked = (dy * mask).astype(np.float32)
        calls.append(
            Call(f"mask {size}", "tinytl_mask_apply", (dy, packed, pixels, channels, Out(masked, tolerance=1e-30)))
        )
    return calls


def norms() -> list[Call]:
    generator = np.random.default_rng(3)
    values = generator.normal(size=37).astype(np.float32)
    total = Out(np.array([np.square(values, dtype=np.float64).sum()], np.float32))
    calls = [Call("sum of squares", "tinytl_sum_of_squares", (values, 37, total))]
    for what, bad in (("nan", np.nan), ("inf", -np.inf), ("largest", np.finfo(np.float32).max)):
        spoilt = values.copy()
        spoilt[36] = bad
        finite = Out(np.array([np.isfinite(bad)], np.uint8))
        calls.append(Call(f"finite {what}", "tinytl_all_finite", (spoilt, 37, finite)))
    return calls


def elementwise() -> list[Call]:
    calls = []
    for activation in range(3):
        for pixels, channels in ((1, 1), (5, 3), (4, 8), (6, 19)):
            generator = np.random.default_rng([activation, channels])
            a, b = (generator.normal(size=(pixels, channels)).astype(np.float32) * 4 for _ in range(2))
            for what, function, inputs in (("add", "tinytl_add", (a, b)), ("activate", "tinytl_activate", (a,))):
                before = tf.constant(sum(inputs))
                with tf.GradientTape() as tape:
                    tape.watch(before)
                    y = windows.activate(before, activation)
                mask = Out(windows.packed_mask(tape.gradient(y, before).numpy()))
                name = f"{what} {pixels} x {channels} activation {activation}"
                for label, out in (("", mask), (" no mask", None)):
                    arguments = (*inputs, pixels, channels, activation, Out(y.numpy()), out)
                    calls.append(Call(name + label, function, arguments))
    x = np.arange(11, dtype=np.float32)
    scaled = Out(x * np.float32(0.25) - np.float32(1.5))
    calls.append(Call("scale offset", "tinytl_scale_offset", (x, 11, 0.25, -1.5, scaled)))
    return calls
