"""The settings of a branch, and the paper's rule for its kernel."""

import dataclasses

import pytest

import tinytl_keras
from tinytl_keras.lite_residual import kernel_for, make_divisible


def test_defaults_are_the_paper_s():
    config = tinytl_keras.LiteResidualConfig()
    assert dataclasses.astuple(config) == (5, 2, 1.0, 2, "group", "relu", True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.kernel_size = 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel_size": 4},
        {"kernel_size": 0},
        {"kernel_size": 3.0},
        {"groups": 0},
        {"groups": True},
        {"expand": 0},
        {"expand": float("nan")},
        {"expand": "1"},
        {"pool": 0},
        {"pool": None},
        {"norm": "layer"},
        {"norm": None},
        {"activation": "rellu"},
        {"zero_init": 1},
    ],
)
def test_refusals(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}`.* must be .*Received: {name}="):
        tinytl_keras.LiteResidualConfig(**wrong)


def test_kernel_rule():
    assert [kernel_for(resolution, 5) for resolution in (64, 5, 4, 3, 2, 1, 0)] == [5, 5, 3, 3, 1, 0, 0]
    assert [kernel_for(resolution, 7) for resolution in (64, 7, 6, 2, 1)] == [7, 7, 5, 1, 0]
    assert kernel_for(64, 1) == 1


def test_make_divisible():
    assert [make_divisible(channels) for channels in (3, 8, 11, 12, 9.6, 57.6, 96)] == [8, 8, 16, 16, 16, 56, 96]
