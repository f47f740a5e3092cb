"""load(): a public data set or a folder, as batches for training."""

from collections.abc import Callable
from numbers import Integral
from pathlib import Path

import tensorflow as tf

from tinytl_keras.data.folder_source import open_folder
from tinytl_keras.data.image_data import ImageData, make_image_data
from tinytl_keras.data.keras_cv_layers import keras_cv_augmentation
from tinytl_keras.data.recipes import Recipe, resolve_recipe
from tinytl_keras.data.tfds_source import open_tfds

PREFIX = "tfds:"


def load(
    dataset: str | Path,
    *,
    image_size: int = 224,
    batch_size: int = 8,
    evaluation_batch_size: int = 32,
    recipe: Recipe | str | None = None,
    augment: Callable[[tf.Tensor], tf.Tensor] | str | None = None,
    preprocess: Callable[[tf.Tensor], tf.Tensor] | None = None,
    train_split: str | None = None,
    test_split: str | None = None,
    validation_split: str | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
) -> ImageData:
    """Loads images for classification, and crops and colours them as the paper does.

    Training images are random crops of 22 to 100 % of the area, flipped half of the time, with colour jitter where
    the recipe says so; test images are central crops of 7/8 of the shorter side. The splits are the paper's.

    Example:

    ```python
    data = tinytl_keras.data.load("tfds:oxford_flowers102", preprocess=keras.applications.mobilenet_v2.preprocess_input)
    model.fit(data.train, validation_data=data.test, epochs=data.recipe.epochs)
    ```

    Args:
        dataset: `"tfds:"` and the name of any image classification data set of tensorflow-datasets, e.g.
            `"tfds:cars196"`; or a folder with one subfolder of images per class, a quarter of which is held out as
            test images; or a folder with `train` and `test` (or `val`), each such a folder.
        image_size: Height and width of the images in pixels.
        batch_size: Images per training step.
        evaluation_batch_size: Images per batch of `test` and `validation`.
        recipe: A name in `RECIPES`, or a `Recipe`. None: the data set's own. Crops and jitter depend on it.
        augment: What happens to training batches beyond the recipe: a callable from float32
            `[batch, size, size, 3]` in [0, 255] to the same, such as a Keras layer, or the name of a layer of
            keras-cv: `"rand_augment"`, `"aug_mix"`, `"cutout"` or `"grid_mask"`.
        preprocess: Called on every batch at the end, such as `keras.applications.mobilenet_v2.preprocess_input`.
            None: images stay in [0, 255].
        train_split, test_split, validation_split: Other splits than the paper's, in the notation of
            tensorflow-datasets, e.g. `"train[:90%]"` and `"train[90%:]"`. Only for `tfds:`.
        data_dir: Where tensorflow-datasets keeps prepared data. None: its default, `~/tensorflow_datasets`.
        download: Whether tensorflow-datasets may download and prepare what is not there.
        seed: Of the order, the crops and the colours.

    Returns:
        An `ImageData`: `.train`, `.test`, `.validation`, `.class_names`, `.sizes`, `.recipe`.

    Raises:
        ImportError: tensorflow-datasets or keras-cv is needed and not installed.
        TypeError, ValueError: An argument is out of range, there is no such data set or split, it is not one for
            image classification, or there are fewer than two classes or no images.
        FileNotFoundError, NotADirectoryError: The folder is none, or the data set is not prepared.
        OSError: The download failed.
    """
    for name, number in (
        ("image_size", image_size),
        ("batch_size", batch_size),
        ("evaluation_batch_size", evaluation_batch_size),
    ):
        if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
            raise ValueError(f"`{name}` must be an integer of 1 or more. Received: {name}={number!r}")
    recipe = resolve_recipe(recipe, str(dataset))
    if isinstance(augment, str):
        augment = keras_cv_augmentation(augment)
    splits = {"train": train_split, "test": test_split, "validation": validation_split}
    if str(dataset).startswith(PREFIX):
        name = str(dataset).removeprefix(PREFIX)
        source = open_tfds(name, **splits, data_dir=data_dir, download=download)
    elif any(splits.values()):
        raise ValueError(f"Only a data set of tensorflow-datasets takes splits. Received: {splits} with {dataset}")
    else:
        source = open_folder(dataset)
    return make_image_data(source, recipe, image_size, batch_size, evaluation_batch_size, augment, preprocess, seed)
