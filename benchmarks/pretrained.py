"""Networks that know half of the hand signs, where no weights of ImageNet are at hand.

A network of keras.applications learns the first five of the ten classes of photographs from scratch, on the pictures
that a benchmark trains on. What it learns then, on a device, are all ten.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from absl import flags
from tqdm import tqdm
from transfer_accuracy import halves

KNOWN = 5  # classes
_BATCH_SIZE, _RATE, _SEED = 16, 2e-3, 0
_APPLICATIONS = {
    "MobileNetV2-0.35@96": lambda: keras.applications.MobileNetV2((96, 96, 3), 0.35, weights=None, classes=KNOWN),
    "MobileNetV3Small@96": lambda: keras.applications.MobileNetV3Small(
        (96, 96, 3), weights=None, classes=KNOWN, include_preprocessing=False
    ),
}
NAMES = tuple(_APPLICATIONS)

FLAGS = flags.FLAGS
flags.DEFINE_enum("network", NAMES[0], [*NAMES, "imagenet"], "What learns; imagenet: what --model names.")
flags.DEFINE_integer("pretraining_epochs", 30, "Of a network that knows five signs.", lower_bound=1)


def network_and_halves():
    """The model, which --model names from now on, and the pictures to learn from and to be tested on, in its size."""
    if FLAGS.network == "imagenet":
        model = keras.models.load_model(FLAGS.model)
        return model, halves(model.input_shape[1])
    train, test = halves(size_of(FLAGS.network))
    kept = Path(FLAGS.results).parent / f"{FLAGS.network}-{FLAGS.pretraining_epochs}{'-tune' * FLAGS.tune}.keras"
    model = pretrained(FLAGS.network, *train, kept, FLAGS.pretraining_epochs)
    FLAGS.model = str(kept)
    return model, (train, test)


def size_of(name: str) -> int:
    """Rows and columns of the images of the network `name`."""
    return int(name.partition("@")[2])


def pretrained(name: str, x: np.ndarray, y: np.ndarray, path: Path, epochs: int) -> keras.Model:
    """The network `name`, from the file `path` where it is there, and kept there.

    Args:
        name: one of `NAMES`.
        x: pictures [n, size, size, 3] in [-1, 1].
        y: their classes [n]; those from `KNOWN` on are left out.
    """
    if path.exists():
        return keras.models.load_model(path)
    keras.utils.set_random_seed(_SEED)
    model = _APPLICATIONS[name]()
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # the statistics of a few hundred steps
    x, y = x[y < KNOWN], y[y < KNOWN]
    rate = keras.optimizers.schedules.CosineDecay(_RATE, epochs * -(-len(y) // _BATCH_SIZE))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    vary = keras.Sequential([keras.layers.RandomTranslation(0.1, 0.1), keras.layers.RandomRotation(0.05)])
    for _ in tqdm(range(epochs), desc=f"pretraining {name}"):
        model.fit(np.asarray(vary(x, training=True)), y, batch_size=_BATCH_SIZE, verbose=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)
    return model
