"""Augmentation beyond the paper's, by keras-cv."""

from collections.abc import Callable

import tensorflow as tf

AUGMENTATIONS = ("rand_augment", "aug_mix", "cutout", "grid_mask")


def keras_cv_augmentation(name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """A keras-cv layer that changes batches of training images.

    Its random numbers are TensorFlow's global ones: a run that uses it cannot be repeated to the bit.

    Args:
        name: One of `AUGMENTATIONS`, with the settings that keras-cv recommends for classification.

    Returns:
        A function from float32 `[batch, height, width, 3]` in [0, 255] to the same.

    Raises:
        ValueError: There is no such augmentation.
        ImportError: keras-cv is not installed.
    """
    if name not in AUGMENTATIONS:
        raise ValueError(f"`augment` must be a callable, None or one of {AUGMENTATIONS}. Received: augment={name!r}")
    try:
        import keras_cv
    except ImportError as error:
        raise ImportError(f'augment={name!r} needs keras-cv: pip install "tinytl-keras[models]"') from error
    makers = {
        "rand_augment": lambda: keras_cv.layers.RandAugment(value_range=(0, 255)),
        "aug_mix": lambda: keras_cv.layers.AugMix(value_range=(0, 255)),
        "cutout": lambda: keras_cv.layers.RandomCutout(height_factor=0.5, width_factor=0.5),
        "grid_mask": lambda: keras_cv.layers.GridMask(),
    }
    layer = makers[name]()
    return lambda images: layer(images, training=True)
