import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tinytl_keras import data


@pytest.fixture(scope="module")
def flowers(data_dir):
    return data.load("tfds:oxford_flowers102", image_size=24, batch_size=4, data_dir=data_dir)


def batches(dataset):
    return list(dataset.as_numpy_iterator())


def same(first, second):
    return all(np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two))


def test_shapes_and_sizes(flowers):
    assert flowers.sizes == (15, 5, 0) and flowers.validation is None
    assert flowers.num_classes == 102 and flowers.recipe is data.RECIPES["oxford_flowers102"]
    assert flowers.steps_per_epoch == len(flowers.train) == 4 and len(flowers.test) == 1
    train = batches(flowers.train)
    assert [len(y) for _, y in train] == [4, 4, 4, 3]
    for x, y in [*train, *batches(flowers.test)]:
        assert x.shape == (len(y), 24, 24, 3) and x.dtype == np.float32 and y.dtype == np.int64
        assert 0 <= x.min() < 60 and 195 < x.max() <= 255
    with pytest.raises(dataclasses.FrozenInstanceError):
        flowers.train = None


def test_every_pass_is_new_and_every_run_the_same(flowers, data_dir):
    def fresh(**options):
        return data.load("tfds:oxford_flowers102", image_size=24, batch_size=4, data_dir=data_dir, **options)

    one = fresh()
    first, second = batches(one.train), batches(one.train)
    assert not same(first, second)
    for epoch in (first, second):
        assert sorted(np.concatenate([y for _, y in epoch])) == [0] * 5 + [1] * 5 + [2] * 5
    assert same(first, batches(fresh().train))
    other = fresh(seed=1)
    assert not same(batches(flowers.train_from().take(4)), batches(other.train_from().take(4)))
    assert same(batches(flowers.test), batches(other.test))


@pytest.mark.parametrize("global_seed", [0, 5])
def test_training_can_start_at_any_epoch(flowers, data_dir, global_seed):
    everything = batches(flowers.train_from().take(12))
    assert not same(everything[:4], everything[4:8])
    keras.utils.set_random_seed(global_seed)  # 0: TensorFlow's shuffle does not take a tensor as its seed then
    again = data.load("tfds:oxford_flowers102", image_size=24, batch_size=4, data_dir=data_dir)
    assert same(everything[8:], batches(again.train_from(2).take(4)))


def test_a_folder_with_another_recipe_and_preprocessing(folder):
    preprocess = keras.applications.mobilenet_v2.preprocess_input
    images = data.load(folder, image_size=16, recipe="fgvc_aircraft", preprocess=preprocess)
    assert images.class_names == ("2", "10") and images.recipe.color_jitter
    ((x, y),) = batches(images.test)
    red, blue = x[y == 0, 8, 8], x[y == 1, 8, 8]
    np.testing.assert_allclose(red, [[1, -1, -1]], atol=0.05)
    np.testing.assert_allclose(blue, [[-1, -1, 1]], atol=0.05)
    ((x, _),) = batches(images.train)
    assert x.min() >= -1 and x.max() <= 1
    assert len({tuple(color) for color in np.round(x[:, 8, 8], 3)}) == 6  # jitter leaves no two alike


def test_half_of_the_training_images_are_flipped(folder):
    from PIL import Image

    for path in folder.glob("*/*"):  # black on the left, white on the right
        pixels = np.zeros((16, 16, 3), np.uint8)
        pixels[:, 8:] = 255
        Image.fromarray(pixels).save(path)
    whole = data.Recipe(1e-3, 0.1, crop_area=(1.0, 1.0))
    images = data.load(folder, image_size=16, recipe=whole)
    flipped = [x[0, 8, 0, 0] > x[0, 8, -1, 0] for x, _ in batches(images.train_from().unbatch().batch(1).take(60))]
    assert 15 < sum(flipped) < 45


def test_further_augmentation(folder):
    def darken(images):
        return tf.zeros_like(images)

    images = data.load(folder, image_size=16, augment=darken)
    assert max(x.max() for x, _ in batches(images.train)) == 0 < max(x.max() for x, _ in batches(images.test))


def test_validation_images_and_batch_sizes(data_dir):
    images = data.load(
        "tfds:cifar10",
        image_size=16,
        evaluation_batch_size=2,
        train_split="train[:6]",
        validation_split="train[6:]",
        data_dir=data_dir,
    )
    assert images.sizes == (6, 4, 3)
    assert [len(y) for _, y in batches(images.validation)] == [2, 1] and len(images.test) == 2


@pytest.mark.parametrize("argument", ["image_size", "batch_size", "evaluation_batch_size"])
@pytest.mark.parametrize("value", [0, 1.5, True])
def test_sizes_out_of_range(folder, argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be an integer of 1 or more. Received: {argument}={value}"):
        data.load(folder, **{argument: value})


def test_a_folder_takes_no_splits(folder):
    with pytest.raises(ValueError, match="Only a data set of tensorflow-datasets takes splits"):
        data.load(folder, test_split="test")
