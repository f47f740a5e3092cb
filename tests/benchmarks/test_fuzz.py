"""Damaged files against whatever takes foreign ones: a ValueError, or a program that LiteRT survives. About two
minutes, the same files every time; `benchmarks/fuzz.py` takes as many as it is given time for."""

import litert_child
import pytest
from fuzz import ENTRY_POINTS, EntryPoint, fuzz
from litert_child import LiteRT
from mutations import Mutator
from small_files import small_files

from tests.tflite_export.every_operator import converted_in_parts

FILES = {"read": 6000, "checked": 14000, "make_trainable": 1000}


@pytest.fixture(scope="module")
def sources():
    files = [*small_files().values(), *converted_in_parts(8)]
    assert all(len(file) <= 65536 for file in files)
    return files


@pytest.fixture(scope="module")
def litert():
    with LiteRT() as running:
        yield running


def test_every_entry_point_has_its_share():
    assert FILES.keys() == ENTRY_POINTS.keys()
    assert sum(FILES.values()) >= 20000


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_fuzz(name, sources, litert):
    result = fuzz(ENTRY_POINTS[name], sources, FILES[name], float("inf"), seed=0, run_every=10, litert=litert)
    assert not result.broken, list(result.broken)
    tried = result.outcomes["refused"] + result.outcomes["accepted"]
    assert tried == FILES[name]
    assert 0.02 < result.outcomes["accepted"] / tried < 0.6, "damage should mostly be found, and not always"
    assert name == "read" or result.outcomes["LiteRT ran"] >= 5


def test_undamaged_files_are_accepted_and_run(sources, litert):
    for content in sources:
        ENTRY_POINTS["checked"].accept(content)
        assert litert.run(content) == "ran"


def test_the_same_seed_makes_the_same_files(sources):
    first, second, other = (Mutator(sources, seed) for seed in (1, 1, 2))
    made = [first() for _ in range(20)]
    assert made == [second() for _ in range(20)] != [other() for _ in range(20)]


def test_what_breaks_is_kept(sources, litert):
    def accept(content):
        raise KeyError(len(content))

    result = fuzz(EntryPoint(accept), sources, 3, float("inf"), seed=0, run_every=1, litert=litert)
    assert result.outcomes == {"raised KeyError": 3}
    assert [name.split()[:2] for name in result.broken] == [["raised", "KeyError"]] * 3


def test_a_process_that_dies_is_told_and_replaced(sources, litert):
    assert litert.run(sources[0]) == "ran"
    litert.process.kill()
    assert litert.run(sources[0]) == "crashed (SIGKILL)"
    assert litert.run(sources[0]) == "ran"


def test_a_process_that_hangs_is_ended(sources):
    with LiteRT(seconds=0) as hurried:
        assert hurried.run(sources[0]) == "hung"
        assert hurried.process is None
    assert litert_child.LiteRT().seconds > 1
