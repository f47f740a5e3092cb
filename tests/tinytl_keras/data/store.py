"""Writes small data sets under public names, for tensorflow-datasets' own loader to read."""

import numpy as np
import tensorflow_datasets as tfds


def store(data_dir, name, version, splits, classes=3, shape=(None, None, 3), text=None):
    """`splits`: numbers of images by split. Image i of a split has class i % classes and a size of its own.

    `text`: another feature that the public data set has.
    """

    def others(index):
        return {text: str(index)} if text else {}

    def examples(count, rng):
        channels = shape[-1]
        sizes = [shape if shape[0] else (40 + 3 * i, 60, channels) for i in range(count)]
        images = [rng.integers(0, 256, size, np.uint8) for size in sizes]
        return [(str(i), {"image": image, "label": i % classes, **others(i)}) for i, image in enumerate(images)]

    features = {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(names=[f"class {i}" for i in range(classes)]),
    }
    if text:
        features[text] = tfds.features.Text()
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version=version,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: examples(count, np.random.default_rng(0)) for split, count in splits.items()},
        data_dir=data_dir,
    )
