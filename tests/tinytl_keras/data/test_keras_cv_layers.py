import sys

import numpy as np
import pytest
import tensorflow as tf

from tinytl_keras.data.keras_cv_layers import AUGMENTATIONS, keras_cv_augmentation


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_layers_change_images_within_their_range(name, photograph):
    pytest.importorskip("keras_cv", reason='keras-cv is not installed: pip install "tinytl-keras[models]"')
    images = tf.constant(np.stack([photograph[:32, :32]] * 4), tf.float32)
    augment = keras_cv_augmentation(name)
    (result,) = tf.data.Dataset.from_tensors(images).map(augment).as_numpy_iterator()
    assert result.shape == images.shape and result.dtype == np.float32
    assert result.min() >= -1e-3 and result.max() <= 255 + 1e-3
    assert np.abs(result - images).max() > 1


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"one of \('rand_augment'.*Received: augment='mix_up'"):
        keras_cv_augmentation("mix_up")


def test_without_keras_cv(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r'pip install "tinytl-keras\[models\]"'):
        keras_cv_augmentation("cutout")
