"""ImageData: batches of images, and the pipeline that makes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import tensorflow as tf

from tinytl_keras.data.color_jitter import random_color_jitter
from tinytl_keras.data.crops import central_crop, random_resized_crop
from tinytl_keras.data.recipes import Recipe
from tinytl_keras.data.source import Samples, Source

SHUFFLE_BUFFER = 8192  # encoded images, about a GB of photographs


class Sizes(NamedTuple):
    """Numbers of images."""

    train: int
    test: int
    validation: int


@dataclass(frozen=True)
class ImageData:
    """A data set ready for training: batches of float32 `[batch, size, size, 3]` and int64 `[batch]`.

    Attributes:
        name: What was loaded.
        class_names: In the order of the labels.
        train: One epoch, the last batch may be smaller; each pass is in a new order, with new crops.
        test: Central crops, always in the same order.
        validation: As `test`; None where the data set has no images to spare for it.
        sizes: Numbers of images in `train`, `test` and `validation`.
        recipe: The settings that belong to the data set.
        steps_per_epoch: Batches in `train`.
    """

    name: str
    class_names: tuple[str, ...]
    train: tf.data.Dataset
    test: tf.data.Dataset
    validation: tf.data.Dataset | None
    sizes: Sizes
    recipe: Recipe
    steps_per_epoch: int
    _epoch: Callable[[tf.Tensor], tf.data.Dataset] = field(repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def train_from(self, epoch: int = 0) -> tf.data.Dataset:
        """The training batches of `epoch`, of the one after that, and so on without end.

        What an epoch holds depends on its number and the seed alone: a run that goes on at a later epoch sees what
        it would have seen. `fit` needs `steps_per_epoch` with it.

        Args:
            epoch: The first epoch, from 0.
        """
        epochs = tf.data.Dataset.counter(tf.constant(epoch, tf.int64))
        return epochs.flat_map(self._epoch).prefetch(tf.data.AUTOTUNE)


def make_image_data(
    source: Source,
    recipe: Recipe,
    image_size: int,
    batch_size: int,
    evaluation_batch_size: int,
    augment: Callable[[tf.Tensor], tf.Tensor] | None,
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None,
    seed: int,
) -> ImageData:
    """Puts the pipeline together; the arguments are those of `load`, checked."""

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        # Of this graph alone: a global seed would change the order, and one of 0 breaks shuffle (TensorFlow 2.21).
        tf.compat.v1.set_random_seed(1)
        order = tf.stack([tf.constant(seed, tf.int64), -1 - number])  # no image's seed, those are from 0
        order = tf.random.stateless_uniform([], order, minval=None, maxval=None, dtype=tf.int64)
        items = source.train.items.shuffle(min(source.train.size, SHUFFLE_BUFFER), order)
        numbered = items.enumerate(number * source.train.size)
        return numbered.map(train_image, tf.data.AUTOTUNE, deterministic=True).batch(batch_size).map(finish_training)

    def train_image(index: tf.Tensor, item: tuple[tf.Tensor, tf.Tensor]):
        seeds = tf.random.split(tf.stack([tf.constant(seed, tf.int64), index]), 3)
        image = random_resized_crop(source.decode(item[0]), image_size, recipe.crop_area, seeds[0])
        image = tf.image.stateless_random_flip_left_right(image, seeds[1])
        return random_color_jitter(image, seeds[2]) if recipe.color_jitter else image, item[1]

    def finish_training(images: tf.Tensor, labels: tf.Tensor):
        images = augment(images) if augment else images
        return finish(images, labels)

    def finish(images: tf.Tensor, labels: tf.Tensor):
        images = tf.ensure_shape(images, [None, image_size, image_size, 3])
        return preprocess(images) if preprocess else images, labels

    def evaluation(samples: Samples) -> tf.data.Dataset:
        def test_image(item: tf.Tensor, label: tf.Tensor):
            return central_crop(source.decode(item), image_size), label

        images = samples.items.map(test_image, tf.data.AUTOTUNE, deterministic=True)
        dataset = images.batch(evaluation_batch_size).map(finish).prefetch(tf.data.AUTOTUNE)
        return dataset.apply(tf.data.experimental.assert_cardinality(-(-samples.size // evaluation_batch_size)))

    steps = -(-source.train.size // batch_size)
    passes = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).take(1)
    train = passes.flat_map(lambda number: epoch(number % 2**31)).prefetch(tf.data.AUTOTUNE)
    validation = source.validation
    return ImageData(
        name=source.name,
        class_names=source.class_names,
        train=train.apply(tf.data.experimental.assert_cardinality(steps)),
        test=evaluation(source.test),
        validation=evaluation(validation) if validation else None,
        sizes=Sizes(source.train.size, source.test.size, validation.size if validation else 0),
        recipe=recipe,
        steps_per_epoch=steps,
        _epoch=epoch,
    )
