"""Colour jitter: torchvision's `ColorJitter(0.4, 0.4, 0.4, 0.1)` as stateless TF operations.

keras_cv.layers.RandomColorJitter is another augmentation: it adds to the brightness instead of multiplying, keeps one
order, and does not pass its seed on (0.9.0), so that no run could be repeated.
"""

import tensorflow as tf

BRIGHTNESS = CONTRAST = SATURATION = 0.4  # factors are drawn from 1 ± these
HUE = 0.1  # turns of the colour circle, ±


def random_color_jitter(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, in random order, as the paper does on aircraft and cars.

    Args:
        image: float32 `[height, width, 3]`, RGB in [0, 255].
        seed: int64 `[2]`; the same seed changes the image in the same way.

    Returns:
        float32 of the same shape and range.
    """
    strengths = tf.constant([BRIGHTNESS, CONTRAST, SATURATION, HUE])
    draws = strengths * tf.random.stateless_uniform([4], seed, -1, 1)
    order = tf.argsort(tf.random.stateless_uniform([4], seed + 1))
    for step in range(4):
        changes = [
            lambda image=image: adjust_brightness(image, 1 + draws[0]),
            lambda image=image: adjust_contrast(image, 1 + draws[1]),
            lambda image=image: adjust_saturation(image, 1 + draws[2]),
            lambda image=image: tf.image.adjust_hue(image, draws[3]),
        ]
        image = tf.clip_by_value(tf.switch_case(order[step], changes), 0, 255)
    return image


def adjust_brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves an image away from black (factor above 1) or towards it."""
    return image * factor


def adjust_contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves an image away from its mean grey (factor above 1) or towards it."""
    mean = tf.reduce_mean(_grey(image))
    return mean + (image - mean) * factor


def adjust_saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves each pixel away from its own grey (factor above 1) or towards it."""
    grey = _grey(image)
    return grey + (image - grey) * factor


def _grey(image: tf.Tensor) -> tf.Tensor:
    """float32 [height, width, 1]: luma of ITU-R BT.601."""
    return tf.tensordot(image, tf.constant([[0.299], [0.587], [0.114]]), 1)
