"""Data sets of tensorflow-datasets."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tinytl_keras.data.source import Samples, Source, check_classes

SPLITS = {
    "oxford_flowers102": {"train": "train+validation", "test": "test", "validation": None},
    "food101": {"train": "train", "test": "validation", "validation": None},
}
"""Of the paper's data sets, those whose splits there are others than `default_splits` would choose."""


def open_tfds(
    name: str,
    *,
    train: str | None = None,
    test: str | None = None,
    validation: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
) -> Source:
    """A data set of tensorflow-datasets, read by its own loader.

    Args:
        name: The builder's, e.g. `"oxford_flowers102"`; also with a config and a version, `"name/config:1.*.*"`.
        train, test, validation: Splits in the notation of tensorflow-datasets, e.g. `"train[:90%]"`. None: the
            paper's (`SPLITS`), else those that `default_splits` describes.
        data_dir: Where prepared data lie. None: the default of tensorflow-datasets, `~/tensorflow_datasets`.
        download: Whether to download and prepare the data if they are not there.

    Raises:
        ImportError: tensorflow-datasets is not installed.
        ValueError: There is no such builder, config or split, it has not one image and one class per sample, its
            images are not 8-bit ones, or there are fewer than two classes.
        FileNotFoundError: The data are not prepared and `download` is False.
        OSError: The download or preparation failed.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(f'tfds:{name} needs tensorflow-datasets: pip install "tinytl-keras[data]"') from error
    builder = _builder(tfds, name, data_dir)
    _prepare(tfds, builder, data_dir, download)
    image, label = _supervised_keys(tfds, builder)
    class_names = tuple(builder.info.features[label].names)
    check_classes(f"tfds:{name}", class_names)

    chosen = {**default_splits(set(builder.info.splits), name), **SPLITS.get(builder.name, {})}
    if train or test or validation:
        chosen = {"train": train or chosen["train"], "test": test or chosen["test"], "validation": validation}

    encoded = {image: tfds.decode.SkipDecoding()}
    only = tfds.decode.PartialDecoding({image: True, label: True}, decoders=encoded)  # no masks, no boxes

    def samples(split: str) -> Samples:
        try:
            size = builder.info.splits[split].num_examples
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"tfds:{name} has no split {split!r}. It has: {sorted(builder.info.splits)}; parts are written "
                "'train[:90%]'."
            ) from error
        if not size:
            raise ValueError(f"The split {split!r} of tfds:{name} holds no images.")
        items = builder.as_dataset(split=split, decoders=only, read_config=tfds.ReadConfig(try_autocache=False))
        return Samples(items.map(lambda item: (item[image], item[label])), size)

    held_out = samples(chosen["validation"]) if chosen["validation"] else None
    decode = _decoder(builder.info.features[image])
    return Source(f"tfds:{name}", class_names, samples(chosen["train"]), samples(chosen["test"]), held_out, decode)


def default_splits(splits: set[str], name: str) -> dict[str, str | None]:
    """Which splits serve as what.

    `test`, or `validation` where there is no `test`, serves as test images; where there is neither, the last quarter
    of `train`.

    Raises:
        ValueError: There is no split `train`.
    """
    if "train" not in splits:
        raise ValueError(f"tfds:{name} has no split 'train'. It has: {sorted(splits)}. Name the splits to use.")
    if "test" in splits:
        return {"train": "train", "test": "test", "validation": "validation" if "validation" in splits else None}
    if "validation" in splits:
        return {"train": "train", "test": "validation", "validation": None}
    return {"train": "train[:75%]", "test": "train[75%:]", "validation": None}


def _builder(tfds: Any, name: str, data_dir: str | Path | None) -> Any:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError as error:
        close = difflib.get_close_matches(name, tfds.list_builders(with_community_datasets=False))
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise ValueError(
            f"tensorflow-datasets {tfds.__version__} has no data set {name!r}.{hint} "
            "The list: https://www.tensorflow.org/datasets/catalog. For images of your own, pass their folder."
        ) from error


def _prepare(tfds: Any, builder: Any, data_dir: str | Path | None, download: bool) -> None:
    if builder.is_prepared():
        return
    where = f" --data_dir={data_dir}" if data_dir else ""
    command = f"tfds build {builder.info.full_name.rsplit('/', 1)[0]}{where}"
    if not download:
        raise FileNotFoundError(
            f"tfds:{builder.name} is not prepared: there is no {builder.data_dir}. Prepare it where there is a "
            f"network, by `{command}` or by download=True, and copy that folder if that is another machine."
        )
    failures = (
        OSError,
        AssertionError,  # of data sets that have to be downloaded by hand
        tfds.download.DownloadError,
        tfds.download.download_manager.NonMatchingChecksumError,
    )
    try:
        builder.download_and_prepare()
    except failures as error:
        raise OSError(
            f"tfds:{builder.name} could not be downloaded and prepared: {error}\nTry `{command}` where there is a "
            f"network, and copy {builder.data_dir} to this machine."
        ) from error


def _supervised_keys(tfds: Any, builder: Any) -> tuple[str, str]:
    """Names of the one image and the one class of each sample."""
    features, keys = builder.info.features, builder.info.supervised_keys or ("image", "label")
    kinds = (tfds.features.Image, tfds.features.ClassLabel)
    if len(keys) != 2 or not all(key in features and isinstance(features[key], kind) for key, kind in zip(keys, kinds)):
        raise ValueError(
            f"tfds:{builder.name} is not for image classification: each sample must have one Image and one ClassLabel. "
            f"It has: {features}"
        )
    image = features[keys[0]]
    if image.np_dtype != np.uint8 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(
            f"tfds:{builder.name} must have 8-bit images of 1, 3 or 4 channels. It has {image.np_dtype} {image.shape}."
        )
    return keys


def _decoder(feature: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    def decode(encoded: tf.Tensor) -> tf.Tensor:
        image = feature.decode_example(encoded)[..., :3]
        return tf.image.grayscale_to_rgb(image) if image.shape[-1] == 1 else image

    return decode
