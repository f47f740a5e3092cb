"""Goldens of pools, resize, group normalisation and the loss."""

from __future__ import annotations

import struct

import numpy as np
import tensorflow as tf

from tests.micro import windows
from tests.micro.goldens import Call, Out
from tests.micro.windows import AWKWARD, Window


def _f32(array) -> np.ndarray:
    return np.asarray(array).astype(np.float32)


def _input_gradient_calls(name, function, params, dy, middle, dx, generator, mask: bool = True) -> list[Call]:
    """The gradient written plainly, and added to what is there and masked."""
    below, packed = windows.random_mask(generator, dx.shape)
    before = _f32(generator.normal(size=dx.shape))
    plain = (None, False) if mask else (False,)
    added = (packed, True) if mask else (True,)
    total = _f32((dx + before) * (below if mask else 1))
    return [
        Call(f"{name} dx", function, (params, dy, *middle, *plain, Out(_f32(dx)))),
        Call(f"{name} dx +=", function, (params, dy, *middle, *added, Out(total, before))),
    ]


def taps(window: Window, x, fill: float):
    """[batch, output height, output width, taps, channels], `fill` outside the input."""
    padded = window.padded(x, fill)
    rows, columns = window.kernel
    height, width = padded.shape[1] - rows + 1, padded.shape[2] - columns + 1
    shifted = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    return tf.stack([window.thinned(tap) for tap in shifted], 3)


def pools() -> list[Call]:
    calls = []
    for seed, window in enumerate(AWKWARD):
        generator = np.random.default_rng([30, seed])
        channels = window.input[3]
        params = window.struct(channels)
        name = f"{window.input} {window.kernel} {window.strides}"
        # Distinct values: the maximum is unique, so no rule for ties is tested here.
        count = int(np.prod(window.input))
        x = _f32(generator.permutation(count).reshape(window.input) / count * 8 - 4)
        x64 = tf.constant(x, tf.float64)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x64)
            inside = tf.reduce_sum(taps(window, tf.ones_like(x64), 0.0), 3)
            average = tf.reduce_sum(taps(window, x64, 0.0), 3) / inside
            patches = taps(window, x64, -1e9)
            largest = tf.reduce_max(patches, 3)
        dy = _f32(generator.normal(size=average.shape))
        dx = tape.gradient(average, x64, tf.constant(dy, tf.float64)).numpy()
        calls.append(Call(f"average pool {name}", "tinytl_average_pool_forward", (params, x, Out(_f32(average)))))
        calls += _input_gradient_calls(
            f"average pool {name}", "tinytl_average_pool_input_gradient", params, dy, (), dx, generator
        )
        argmax = tf.argmax(patches, 3).numpy().astype(np.uint8)
        dx = tape.gradient(largest, x64, tf.constant(dy, tf.float64)).numpy()
        out = (Out(_f32(largest)), Out(argmax))
        calls.append(Call(f"max pool {name}", "tinytl_max_pool_forward", (params, x, *out)))
        calls.append(Call(f"max pool {name} y only", "tinytl_max_pool_forward", (params, x, out[0], None)))
        calls += _input_gradient_calls(
            f"max pool {name}", "tinytl_max_pool_input_gradient", params, dy, (argmax,), dx, generator
        )
    return calls


def global_averages() -> list[Call]:
    calls = []
    for shape in ((1, 1, 1, 1), (2, 3, 5, 7), (1, 4, 4, 24)):
        generator = np.random.default_rng(shape)
        x, dy = _f32(generator.normal(size=shape)), _f32(generator.normal(size=(shape[0], shape[3])))
        y = x.mean((1, 2), dtype=np.float64)
        dx = np.broadcast_to(dy[:, None, None].astype(np.float64), shape) / (shape[1] * shape[2])
        params = struct.pack("<4i", *shape)
        calls.append(Call(f"global average {shape}", "tinytl_global_average_forward", (params, x, Out(_f32(y)))))
        calls += _input_gradient_calls(
            f"global average {shape}", "tinytl_global_average_input_gradient", params, dy, (), dx, generator
        )
    return calls


RESIZES = (
    ((1, 3, 4, 5), (6, 8)), ((2, 2, 2, 3), (4, 4)), ((1, 1, 1, 7), (3, 5)), ((1, 4, 4, 8), (7, 7)),
    ((1, 7, 5, 4), (3, 2)), ((1, 1, 3, 9), (4, 3)), ((1, 5, 5, 2), (5, 5)), ((1, 2, 6, 1), (1, 1)),
)  # fmt: skip


def resizes() -> list[Call]:
    calls = []
    for shape, size in RESIZES:
        generator = np.random.default_rng([*shape, *size])
        x = _f32(generator.normal(size=shape))
        output = (shape[0], *size, shape[3])
        dy, before = _f32(generator.normal(size=output)), _f32(generator.normal(size=output))
        with tf.GradientTape() as tape:
            tape.watch(variable := tf.constant(x))
            y = tf.image.resize(variable, size, "bilinear")
        dx = tape.gradient(y, variable, tf.constant(dy)).numpy()
        params = struct.pack("<8i", *shape, *output)
        name, function = f"resize {shape} -> {size}", "tinytl_resize_bilinear_forward"
        calls.append(Call(name, function, (params, x, False, Out(y.numpy()))))
        calls.append(Call(f"{name} +=", function, (params, x, True, Out(y.numpy() + before, before))))
        calls += _input_gradient_calls(
            name, "tinytl_resize_bilinear_input_gradient", params, dy, (), dx, generator, mask=False
        )
    return calls


def _group_norm(x, gamma, beta, groups, epsilon):
    batch, height, width, channels = x.shape
    grouped = tf.reshape(x, [batch, height * width, groups, channels // groups])
    mean, variance = tf.nn.moments(grouped, [1, 3], keepdims=True)
    normal = tf.reshape((grouped - mean) / tf.sqrt(variance + epsilon), x.shape)
    return normal * gamma + beta, mean, 1 / tf.sqrt(variance + epsilon)


GROUP_NORMS = (((1, 1, 1, 4), 2), ((2, 5, 3, 16), 2), ((1, 7, 7, 12), 3), ((1, 4, 4, 7), 7), ((3, 2, 3, 9), 1))


def group_norms() -> list[Call]:
    calls = []
    for seed, (shape, groups) in enumerate(GROUP_NORMS):
        activation, epsilon = seed % 3, 1e-3
        for attempt in range(100):
            generator = np.random.default_rng([seed, attempt])
            x = _f32(generator.normal(size=shape) * 2 + 5)
            gamma, beta = (_f32(generator.normal(size=shape[3])) for _ in range(2))
            variables = [tf.constant(v, tf.float64) for v in (x, gamma, beta)]
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(variables)
                before, mean, rstd = _group_norm(*variables, groups, epsilon)
                tape.watch(before)
                y = windows.activate(before, activation)
            if windows.is_clear(before.numpy()):
                break
        mask = windows.packed_mask(tape.gradient(y, before).numpy())
        dy = _f32(generator.normal(size=shape))
        dx, dgamma, dbeta = tape.gradient(before, variables, tf.constant(dy, tf.float64))
        params = struct.pack("<5ifi", *shape, groups, epsilon, activation)
        statistics = _f32(mean).ravel(), _f32(rstd).ravel()
        name = f"group norm {shape} / {groups}"
        forward, gradient = "tinytl_group_norm_forward", "tinytl_group_norm_gradient"
        outs = (Out(_f32(y), tolerance=1e-4), *(Out(s, tolerance=2e-4) for s in statistics), Out(mask))
        calls.append(Call(name, forward, (params, x, gamma, beta, *outs)))
        calls.append(Call(f"{name} infer", forward, (params, x, gamma, beta, outs[0], None, None, None)))
        below, packed = windows.random_mask(generator, shape)
        start = _f32(generator.normal(size=shape))
        base = [_f32(generator.normal(size=shape[3])) for _ in range(2)]
        sums = [Out(_f32(d + b), b, 2e-4) for d, b in zip((dgamma, dbeta), base)]
        size = max(1.0, float(np.abs(dx).max())) * 2e-4
        plain, added = Out(_f32(dx), tolerance=size), Out(_f32((dx + start) * below), start, size)
        inputs = (params, x, dy, gamma, *statistics)
        calls.append(Call(f"{name} dx", gradient, (*inputs, None, None, None, False, plain)))
        calls.append(Call(f"{name} gradients", gradient, (*inputs, *sums, packed, True, added)))
        calls.append(Call(f"{name} parameters only", gradient, (*inputs, *sums, None, False, None)))
    return calls


LOSSES = ((1, 1, 0, 0), (4, 10, 0.1, 0), (5, 7, 0, 16), (3, 3, 0.7, 0))


def losses() -> list[Call]:
    calls = []
    for seed, (rows, classes, smoothing, divisor) in enumerate(LOSSES):
        generator = np.random.default_rng([50, seed])
        logits = _f32(generator.normal(size=(rows, classes)) * 5)
        labels = generator.integers(0, classes, rows).astype(np.int32)
        if rows > 3:
            labels[1], labels[3] = -1, classes
        valid = (labels >= 0) & (labels < classes)
        onehot = np.eye(classes)[np.where(valid, labels, 0)]
        params = struct.pack("<iiff", rows, classes, smoothing, divisor)
        dense = _f32(onehot if seed % 2 else generator.random((rows, classes)))
        dense[~valid] = np.nan
        for name, function, given, targets in (
            ("sparse", "tinytl_sparse_cross_entropy", labels, onehot),
            ("dense", "tinytl_dense_cross_entropy", dense, dense),
        ):
            smooth = tf.constant(targets[valid] * (1 - smoothing) + smoothing / classes, tf.float64)
            variable = tf.constant(logits[valid], tf.float64)
            with tf.GradientTape() as tape:
                tape.watch(variable)
                loss = -tf.reduce_sum(smooth * tf.nn.log_softmax(variable))
            dlogits = np.zeros((rows, classes))
            dlogits[valid] = tape.gradient(loss, variable).numpy() / (divisor or valid.sum())
            correct = int((np.argmax(logits[valid], 1) == np.argmax(targets[valid], 1)).sum())
            result = np.array([_f32(loss).view(np.int32), correct, valid.sum(), 1], np.int32)
            found = Out(result, np.zeros(4, np.int32), 1e-4, is_result=True)
            arguments = (params, logits, given, Out(_f32(dlogits)), found)
            calls.append(Call(f"{name} cross-entropy {rows} x {classes}", function, arguments))
        softmax = tf.nn.softmax(tf.constant(logits, tf.float64)).numpy()
        calls.append(Call(f"softmax {rows} x {classes}", "tinytl_softmax", (rows, classes, logits, Out(_f32(softmax)))))
    return calls
