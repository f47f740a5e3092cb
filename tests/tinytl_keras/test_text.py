"""Names that are too long for their column."""

import keras
import pytest
from keras import layers

import tinytl_keras
from tinytl_keras._text import shorten


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("block_1_project", 15, "block_1_project"),
        ("block_1_depthwise_project_BN", 18, "block_1_…roject_BN"),
        ("block_1_depthwise_project_BN", 19, "block_1_d…roject_BN"),
        ("abcd", 1, "…"),
        ("abcd", 2, "…d"),
        ("abcd", 3, "a…d"),
    ],
)
def test_both_ends_stay(text, width, expected):
    short = shorten(text, width)
    assert short == expected and len(short) <= width


def test_names_in_the_summary():
    """That differ in front alone, and at the end alone."""
    names = [
        f"{block}_of_many_separable_blocks_{role}" for block in ("first", "second") for role in ("expand", "project")
    ]
    model = keras.Sequential([keras.Input((4, 4, 2)), *(layers.Conv2D(2, 1, name=name) for name in names)])
    shown = [line.split()[0] for line in str(tinytl_keras.summary(model)).splitlines()[2:6]]
    assert shown == [
        "first_of_ma…ocks_expand",
        "first_of_ma…cks_project",
        "second_of_m…ocks_expand",
        "second_of_m…cks_project",
    ]
