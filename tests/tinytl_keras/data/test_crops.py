import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tinytl_keras.data.crops import central_crop, random_resized_crop


def boxes(height, width, area, count=200):
    """(top, left, height, width) of crops, read off an image whose pixels hold their own coordinates."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    image = tf.constant(np.stack([rows, columns, 0 * rows], -1), tf.float32)

    @tf.function
    def edges(seed):
        # A result larger than the image is not smoothed, so that its corners are the crop's.
        crop = random_resized_crop(image, 2 * max(height, width), area, seed)
        return crop[0, 0, :2], crop[-1, -1, :2]

    for index in range(count):
        (top, left), (bottom, right) = (np.round(edge) for edge in edges(tf.constant([7, index], tf.int64)))
        yield top, left, bottom - top + 1, right - left + 1


def test_crops_have_the_areas_and_ratios_of_random_resized_crop():
    found = np.array(list(boxes(60, 80, (0.22, 1.0))))
    tops, lefts, heights, widths = found.T
    assert (tops >= 0).all() and (tops + heights <= 60).all() and (lefts + widths <= 80).all()
    ratios, areas = widths / heights, widths * heights / 4800
    assert 0.7 < ratios.min() < 0.82 and 1.25 < ratios.max() < 1.4
    assert 0.2 < areas.min() < 0.26 and areas.max() > 0.9
    assert 0.5 < areas.mean() < 0.62  # uniform between 0.22 and 1 would be 0.61; the largest do not always fit
    assert len({tuple(box) for box in found}) > 190


@pytest.mark.parametrize(
    ("shape", "box"),
    [((10, 100), (0, 43, 10, 13)), ((100, 10), (43, 0, 13, 10))],
)
def test_what_never_fits_is_cropped_to_the_nearest_ratio(shape, box):
    assert next(boxes(*shape, (1.0, 1.0), count=1)) == box


def test_the_same_seed_cuts_the_same_crop(photograph):
    first, again, other = (
        random_resized_crop(tf.constant(photograph), 16, (0.22, 1.0), tf.constant([0, index], tf.int64)).numpy()
        for index in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 5
    assert first.shape == (16, 16, 3) and first.dtype == np.float32


@pytest.mark.parametrize("size", [1, 32, 33, 120])
@pytest.mark.parametrize("upright", [False, True])
def test_central_crop_is_torchvisions(photograph, size, upright):
    image = photograph.swapaxes(0, 1) if upright else photograph
    height, width = image.shape[:2]
    shorter = int(np.ceil(size / 0.875))
    resized = (shorter * width // min(height, width), shorter * height // min(height, width))
    picture = Image.fromarray(image).resize(resized, Image.Resampling.BILINEAR)
    left, top = (round((extent - size) / 2) for extent in resized)
    expected = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32)
    ours = central_crop(tf.constant(image), size).numpy()
    assert ours.shape == (size, size, 3)
    np.testing.assert_allclose(ours, expected, atol=1.5)  # PIL rounds after each axis
