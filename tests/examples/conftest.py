import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))  # scripts, not a package


@pytest.fixture(scope="session")
def fresh_goldens(tmp_path_factory):
    """What write_goldens makes with today's exporter."""
    from tests.examples.goldens.write_goldens import write_goldens

    folder = tmp_path_factory.mktemp("goldens")
    write_goldens(folder)
    return folder
