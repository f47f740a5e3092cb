"""Against PIL's enhancements, which torchvision uses for PIL images."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance

from tinytl_keras.data.color_jitter import (
    adjust_brightness,
    adjust_contrast,
    adjust_saturation,
    random_color_jitter,
)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (adjust_brightness, ImageEnhance.Brightness),
        (adjust_contrast, ImageEnhance.Contrast),
        (adjust_saturation, ImageEnhance.Color),
    ],
)
@pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
def test_adjustments_are_pils(photograph, ours, theirs, factor):
    expected = np.asarray(theirs(Image.fromarray(photograph)).enhance(factor), np.float32)
    result = np.clip(ours(tf.constant(photograph, tf.float32), factor), 0, 255)
    np.testing.assert_allclose(result, expected, atol=2)  # PIL rounds its greys


def test_jitter_depends_on_its_seed_alone_and_stays_in_range(photograph):
    image = tf.constant(photograph, tf.float32)
    jitter = tf.function(random_color_jitter)
    results = [jitter(image, tf.constant([3, index], tf.int64)).numpy() for index in (*range(12), 0)]
    np.testing.assert_array_equal(results[0], results[-1])
    assert all(result.shape == photograph.shape and result.dtype == np.float32 for result in results)
    assert all(result.min() >= 0 and result.max() <= 255 for result in results)
    means = np.array([result.mean() for result in results[:-1]])
    assert means.std() > 10 and means.min() < photograph.mean() < means.max()


def test_grey_keeps_its_colour(photograph):
    grey = tf.constant(np.repeat(photograph[..., :1], 3, -1), tf.float32)
    result = random_color_jitter(grey, tf.constant([0, 1], tf.int64)).numpy()
    np.testing.assert_allclose(result, np.repeat(result[..., :1], 3, -1), atol=1e-2)
