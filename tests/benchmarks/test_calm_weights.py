"""Random classifiers are not certain of anything."""

import keras
import numpy as np
import pytest
from calm_weights import random_inputs, soften


@pytest.mark.parametrize("scale", [0.01, 50.0])
def test_logits_that_lie_far_apart_come_nearer(scale):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Flatten(), keras.layers.Dense(4, name="head")])
    head = model.get_layer("head")
    before = scale * head.kernel.numpy()
    head.kernel.assign(before)
    soften(model, head, np.random.default_rng(0))
    (x,) = random_inputs(model, np.random.default_rng(1), 64)
    assert model(x).numpy().std() < 3
    factor = head.kernel.numpy() / before
    assert np.allclose(factor, factor.flat[0]) and (factor.flat[0] == 1) == (scale < 1)
