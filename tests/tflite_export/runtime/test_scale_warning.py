"""Floating point pixels that nobody scaled, on a numpy stand-in whose file expects -1 … 126.5."""

import warnings

import numpy as np
import pytest

from tflite_export.runtime.scale_warning import warn_if_unscaled

PIXELS, LABELS = np.full((10, 4), 255, np.float32), np.zeros(10, int)
SAMPLES, UINT8 = (PIXELS, LABELS), (PIXELS.astype(np.uint8), LABELS)
USES = {
    "train_step": lambda model: model.train_step(PIXELS[:2], LABELS[:2], 0.1),
    "fit": lambda model: model.fit(*SAMPLES, 1, verbose=False),
    "validation": lambda model: model.fit(*UINT8, 1, validation=SAMPLES, verbose=False),
    "augment": lambda model: model.fit(*UINT8, 1, augment=lambda batch: batch.astype(float), verbose=False),
    "predict": lambda model: model.predict(PIXELS),
    "evaluate": lambda model: model.evaluate(*SAMPLES),
}


@pytest.mark.parametrize("use", USES)
def test_the_first_use_says_so_once_at_the_callers_line(make_model, use):
    model = make_model()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        USES[use](model)
        model.predict(PIXELS)
        model.fit(*SAMPLES, 1, verbose=False)
    (warning,) = (each for each in caught if each.category is UserWarning)  # the stand-in's numpy overflows
    assert warning.filename == __file__
    message = str(warning.message)
    assert message.startswith("x holds floating point numbers from 255 to 255.") and "from -1 to 126.5" in message
    assert "uint8" in message and "x * 0.5 + -1" in message


def test_other_samples_before_it_do_not_use_it_up(make_model):
    model = make_model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(PIXELS / 2)
        model.predict(PIXELS.astype(np.uint8))
        model.predict(PIXELS[:0])
    with pytest.warns(UserWarning, match="from 127 to 255"):
        model.predict(np.array([[127, 128, 129, 255.0]]))


@pytest.mark.parametrize(
    ("scale", "offset", "values", "expected"),
    [
        (1 / 127.5, -1, [0, 255], True),
        (1 / 127.5, -1, [-2.2, 2.7], False),  # ImageNet's mean and deviation
        (1 / 127.5, -1, [-3.1, 0], True),
        (1 / 255, 0, [0, 2.1], True),
        (1 / 255, 0, [-1, 2], False),
        (-1 / 255, 1, [-0.5, 1.5], False),
        (-1 / 255, 1, [0, 3], True),
        (1, -128, [-128, 127], False),
        (1, 0, [-1e9, 1e9], False),
    ],
)
def test_far_is_farther_than_the_range_is_wide(scale, offset, values, expected):
    info = {"input_scale": scale, "input_offset": offset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert warn_if_unscaled(np.array(values, np.float32), info) is expected
        assert warn_if_unscaled(np.array(values, np.int32), info) is False
