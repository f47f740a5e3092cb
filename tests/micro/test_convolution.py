"""Convolution, pointwise and depthwise convolution against GradientTape."""

import pytest

from tests.micro import convolution_cases, library


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    return library.build(tmp_path_factory.mktemp("kernels"))


@pytest.mark.parametrize("family", ["convolutions", "pointwises", "depthwises"])
def test_calls(kernels, family):
    for call in getattr(convolution_cases, family)():
        library.call(kernels, call)
