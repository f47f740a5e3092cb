"""Writes what the examples in other languages are tested on: tiny exported files, and what Python makes of them.

    python -m tests.examples.goldens.write_goldens tests/examples/goldens

In the folder of each net:

- ``model.tflite``: takes images of 8 by 8 pixels; four outputs, three of them named.
- ``images.bin``: uint8 [8, 8, 8, 3].
- ``start.safetensors``: the state after two steps, with a fourth class named.
- ``trained.safetensors``: the state after `STEPS` more steps.
- ``expected.json``: the labels, the learning rate, what each step found, and the probabilities before and after.

Beside them in git lies ``kotlin.safetensors``: what the Android example's tests saved after the same steps, copied from
``examples/android/trainer/target/states``.
"""

import json
import sys
from pathlib import Path

import numpy as np

from tflite_export.runtime import OnDeviceModel

NETS = ("train", "accumulate")  # by the signatures that a step calls
STEPS = 3
RATE = 0.5
# Of each step: a full batch, one whose second micro-batch is short, and one of a single row.
ROWS = (slice(0, 4), slice(4, 7), slice(7, 8))


def write_goldens(folder: Path) -> None:
    """Exports the nets, and writes everything else from what the Python runtime does with them."""
    for net in NETS:
        (folder / net).mkdir(parents=True, exist_ok=True)
        _export(net, folder / net / "model.tflite")
        _write_expected(folder / net, OnDeviceModel(folder / net / "model.tflite"))


def _export(net: str, path: Path) -> None:
    import keras

    import tflite_export
    import tinytl_keras

    keras.utils.set_random_seed(1)
    x = image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, 2, "same", activation="relu", name="stem")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    model = tinytl_keras.convert(keras.Model(image, keras.layers.Dense(4)(x)), method="bias", num_classes=4)
    options = {"train": {"optimizer": tflite_export.SGD(momentum=0.9)}, "accumulate": {"micro_batch": 2}}[net]
    names = ["cup", "plant", "käse"]  # one that is not ASCII
    tflite_export.export(
        model, path, batch_size=4, class_names=names, input_scale=1 / 127.5, input_offset=-1.0, **options
    )


def _write_expected(folder: Path, model: OnDeviceModel) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (8, 8, 8, 3), np.uint8)
    labels = np.array([0, 1, 2, 3, 3, 1, 0, 2])
    model.add_class('a "spare" one')
    for rows in ROWS[:2]:
        model.train_step(images[rows], labels[rows], RATE)
    images.tofile(folder / "images.bin")
    model.save(folder / "start.safetensors")
    before = probabilities(model, images)
    found = [model.train_step(images[rows], labels[rows], RATE) for rows in ROWS]
    model.save(folder / "trained.safetensors")
    expected = {
        "labels": labels.tolist(),
        "rate": RATE,
        "rows": [[rows.start, rows.stop] for rows in ROWS],
        "losses": [result.loss for result in found],
        "correct": [result.correct for result in found],
        "before": before.tolist(),
        "after": probabilities(model, images).tolist(),
        "class_names": model.class_names,
        "steps": model.steps,
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def probabilities(model: OnDeviceModel, images: np.ndarray) -> np.ndarray:
    """float64 [n, named classes], of a model whose head is linear."""
    logits = model.predict(images)[:, : len(model.class_names)].astype(np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


if __name__ == "__main__":
    write_goldens(Path(sys.argv[1]))
