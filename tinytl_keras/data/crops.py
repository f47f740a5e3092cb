"""Random and central crops, resized: what torchvision's transforms do in the paper's code, as stateless TF operations.

keras_cv.layers.RandomCropAndResize would not do: its aspect ratio is relative to the image's (1.5 to 2.7 on an image
twice as wide as high), it resizes without smoothing, and its random numbers do not start again from a seed (0.9.0).
"""

import math

import tensorflow as tf

ASPECT_RATIOS = (3 / 4, 4 / 3)  # width / height in pixels
_ATTEMPTS = 10
_CENTRAL_PART = 0.875


def random_resized_crop(image: tf.Tensor, size: int, area: tuple[float, float], seed: tf.Tensor) -> tf.Tensor:
    """A random part of an image at a fixed size, as torchvision's `RandomResizedCrop`.

    The area is uniform in `area`, the logarithm of width / height uniform between those of 3/4 and 4/3. If ten
    attempts do not fit into the image, the largest central crop of an allowed ratio is taken.

    Args:
        image: uint8 or float32 `[height, width, channels]`.
        size: Height and width of the result.
        area: Least and greatest part of the image's area, in (0, 1].
        seed: int64 `[2]`; the same seed cuts out the same part.

    Returns:
        float32 `[size, size, channels]`, in the range of `image`.
    """
    shape = tf.cast(tf.shape(image)[:2], tf.float32)
    height, width = shape[0], shape[1]
    draws = tf.random.stateless_uniform([4, _ATTEMPTS], seed)
    areas = height * width * (area[0] + (area[1] - area[0]) * draws[0])
    low, high = (math.log(ratio) for ratio in ASPECT_RATIOS)
    ratios = tf.exp(low + (high - low) * draws[1])
    widths, heights = tf.round(tf.sqrt(areas * ratios)), tf.round(tf.sqrt(areas / ratios))
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = tf.argmax(fits)
    tops = tf.floor(draws[2] * (height - heights + 1))
    lefts = tf.floor(draws[3] * (width - widths + 1))
    drawn = tf.stack([tops[first], lefts[first], heights[first], widths[first]])
    box = tf.where(tf.reduce_any(fits), drawn, _central_box(height, width))
    top, left, height, width = tf.unstack(tf.cast(box, tf.int32))
    return _resize(image[top : top + height, left : left + width], (size, size))


def central_crop(image: tf.Tensor, size: int) -> tf.Tensor:
    """The middle of an image: its shorter side resized to `size / 0.875`, rounded up, then a square cut out.

    As in `build_valid_transform` of mit-han-lab/once-for-all, which the paper's code inherits.

    Args:
        image: uint8 or float32 `[height, width, channels]`.
        size: Height and width of the result.

    Returns:
        float32 `[size, size, channels]`, in the range of `image`.
    """
    shape = tf.shape(image)[:2]
    short = tf.reduce_min(shape)
    resized = tf.cast(math.ceil(size / _CENTRAL_PART), tf.int32) * shape // short
    top, left = tf.unstack(tf.cast(tf.round((resized - size) / 2), tf.int32))
    return _resize(image, resized)[top : top + size, left : left + size]


def _central_box(height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """float32 [top, left, height, width] of the largest central crop of an allowed ratio."""
    cut_width = tf.minimum(width, tf.round(height * ASPECT_RATIOS[1]))
    cut_height = tf.minimum(height, tf.round(width / ASPECT_RATIOS[0]))
    return tf.stack([(height - cut_height) // 2, (width - cut_width) // 2, cut_height, cut_width])


def _resize(image: tf.Tensor, shape) -> tf.Tensor:
    """Bilinear, smoothed where the image becomes smaller, as PIL does."""
    return tf.image.resize(image, shape, antialias=True)
