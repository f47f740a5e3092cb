"""The training step of a peer, TensorFlow: `tf.function` around GradientTape and SGD, in graph mode.

    python peer_tensorflow.py model.keras batch_size height width channels

Run as a script, it is a process of its own and prints two numbers as JSON: VmHWM after the import of TensorFlow and
Keras and once the inputs are there, and after the model is loaded and has taken a few steps. One thread.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import tensorflow as tf
from process_memory import peak_bytes

import tinytl_keras  # noqa: F401  a saved model has layers of it

STEPS = 3


def use_one_thread() -> None:
    """Before TensorFlow runs anything."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def training_step(model: keras.Model) -> Callable:
    """A step (x, y) -> loss of what is trainable in `model`, whose outputs are logits; inference mode, as exported."""
    optimizer = keras.optimizers.SGD(1e-3)
    optimizer.build(model.trainable_variables)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=False))
        optimizer.apply(tape.gradient(loss, model.trainable_variables))
        return loss

    return step


def inputs(model_shape: tuple[int, ...], batch_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    x = np.random.default_rng(0).normal(size=(batch_size, *model_shape[1:])).astype(np.float32)
    return tf.constant(x), tf.zeros(batch_size, tf.int32)


def main(path: str, batch_size: str, *shape: str) -> None:
    use_one_thread()
    x, y = inputs((None, *map(int, shape)), int(batch_size))
    before = peak_bytes()
    step = training_step(keras.models.load_model(path))
    for _ in range(STEPS):
        step(x, y)
    print(json.dumps((before, peak_bytes())))


if __name__ == "__main__":
    main(*sys.argv[1:])
