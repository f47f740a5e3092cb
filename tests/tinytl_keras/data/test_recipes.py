import dataclasses

import pytest

from tinytl_keras.data import RECIPES, Recipe, recipe_for
from tinytl_keras.data.recipes import OTHER, resolve_recipe


@pytest.mark.parametrize(
    ("name", "rate", "smoothing", "jitter"),
    [
        ("fgvc_aircraft", 0.0016, 0.7, True),
        ("cars196", 0.0008, 0.7, True),
        ("caltech_birds2011", 0.0006, 0.7, False),
        ("oxford_flowers102", 0.0002, 0.7, False),
        ("oxford_iiit_pet", 0.00005, 0.7, False),
        ("food101", 0.0002, 0.1, False),
        ("cifar10", 0.0003, 0.1, False),
        ("cifar100", 0.0003, 0.1, False),
    ],
)
def test_the_papers_settings(name, rate, smoothing, jitter):
    assert dataclasses.astuple(RECIPES[name]) == (rate, smoothing, jitter, 50, 8, (0.22, 1.0))


def test_every_recipe_is_tested_above_and_none_can_change():
    assert len(RECIPES) == 8
    with pytest.raises(TypeError):
        RECIPES["cifar10"] = OTHER


@pytest.mark.parametrize("name", ["tfds:cars196", "cars196", "tfds:cars196:2.*.*", "tfds:cars196/config:2.1.0"])
def test_recipe_for_a_name_with_or_without_version(name):
    assert recipe_for(name) is RECIPES["cars196"]


def test_other_data_sets():
    assert recipe_for("tfds:eurosat/rgb") is OTHER and recipe_for("my/folder") is OTHER
    own = Recipe(1e-3, 0.2)
    assert resolve_recipe(own, "tfds:cifar10") is own
    assert resolve_recipe("fgvc_aircraft", "my/folder").color_jitter
    with pytest.raises(ValueError, match=r"must be one of .*cars196.*Received: recipe='cars'"):
        resolve_recipe("cars", "my/folder")
    with pytest.raises(TypeError, match="Received: recipe=3"):
        resolve_recipe(3, "my/folder")
