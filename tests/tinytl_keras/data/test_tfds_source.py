"""tensorflow-datasets' own loader, on data written under public names."""

import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tinytl_keras.data.tfds_source import default_splits, open_tfds

from .store import store


def labels(samples):
    return [int(label) for _, label in samples.items]


def test_flowers_are_split_as_in_the_paper(data_dir):
    source = open_tfds("oxford_flowers102", data_dir=data_dir)
    assert len(source.class_names) == 102 and source.class_names[0] == "pink primrose"
    assert (source.train.size, source.test.size, source.validation) == (15, 5, None)
    assert sorted(labels(source.test)) == [0, 0, 1, 1, 2]
    assert labels(source.train) == labels(source.train)


def test_images_are_those_that_tensorflow_datasets_decodes(data_dir):
    source = open_tfds("oxford_flowers102", data_dir=data_dir)
    theirs = tfds.load("oxford_flowers102", split="test", data_dir=data_dir, download=False, as_supervised=True)
    for (encoded, label), (image, expected) in zip(source.test.items, theirs, strict=True):
        np.testing.assert_array_equal(source.decode(encoded), image)
        assert label == expected


def test_splits_may_be_chosen(data_dir):
    source = open_tfds("cifar10", train="train[:6]", validation="train[6:]", data_dir=data_dir)
    assert (source.train.size, source.validation.size, source.test.size) == (6, 3, 4)
    assert open_tfds("cifar10:3.0.2", data_dir=data_dir).test.size == 4


def test_grey_images_become_rgb(data_dir):
    source = open_tfds("mnist", data_dir=data_dir)
    image = source.decode(next(iter(source.train.items))[0]).numpy()
    assert image.shape == (28, 28, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_a_quarter_is_held_out_where_there_is_one_split(data_dir):
    source = open_tfds("tf_flowers", data_dir=data_dir)
    assert (source.train.size, source.test.size) == (6, 2)


@pytest.mark.parametrize(
    ("splits", "test", "validation"),
    [
        ({"train", "test"}, "test", None),
        ({"train", "validation", "test"}, "test", "validation"),
        ({"train", "validation"}, "validation", None),
        ({"train", "extra"}, "train[75%:]", None),
    ],
)
def test_default_splits(splits, test, validation):
    chosen = default_splits(splits, "name")
    assert (chosen["test"], chosen["validation"]) == (test, validation)


def test_no_training_split():
    with pytest.raises(ValueError, match=r"tfds:name has no split 'train'. It has: \['test'\]"):
        default_splits({"test"}, "name")


def test_an_unknown_builder(data_dir):
    with pytest.raises(ValueError, match=r"no data set 'cars195'. Did you mean cars196"):
        open_tfds("cars195", data_dir=data_dir)


def test_an_unknown_split(data_dir):
    with pytest.raises(ValueError, match=r"cifar10 has no split 'validation'. It has: \['test', 'train'\]"):
        open_tfds("cifar10", test="validation", data_dir=data_dir)


def test_what_is_not_prepared_says_how_to(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"tfds:cifar100 is not prepared.*`tfds build cifar100 --data_dir={tmp_path}`"
    ):
        open_tfds("cifar100", data_dir=tmp_path)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def fail(self, **_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(OSError, match=r"(?s)could not be downloaded.*no route to host.*`tfds build cifar100 "):
        open_tfds("cifar100", data_dir=tmp_path, download=True)


def test_what_is_not_for_image_classification(tmp_path):
    tfds.dataset_builders.store_as_tfds_dataset(
        name="words",
        version="1.0.0",
        features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        split_datasets={"train": [("0", {"text": "a"})]},
        data_dir=tmp_path,
    )
    with pytest.raises(ValueError, match="tfds:words is not for image classification"):
        open_tfds("words", data_dir=tmp_path)


def test_one_class_is_too_few(tmp_path):
    store(tmp_path, "only_cups", "1.0.0", {"train": 4}, classes=1)
    with pytest.raises(ValueError, match=r"tfds:only_cups must have at least two classes. Found: \['class 0'\]"):
        open_tfds("only_cups", data_dir=tmp_path)


def test_without_tensorflow_datasets(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match=r'pip install "tinytl-keras\[data\]"'):
        open_tfds("cifar10")
