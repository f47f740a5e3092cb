"""What the tests of the kernels share: the host library, the goldens, and the file that holds them."""

import pytest

from tests.micro import bindings, goldens


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """The host library, for ctypes."""
    return bindings.build(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="session")
def calls():
    """Every golden call, by family."""
    from tests.micro import cases

    return {name: make() for name, make in cases.FAMILIES.items()}


@pytest.fixture(scope="session")
def golden_file(calls, tmp_path_factory):
    path = tmp_path_factory.mktemp("goldens") / "calls.golden"
    goldens.write([call for family in calls.values() for call in family], path)
    return path
