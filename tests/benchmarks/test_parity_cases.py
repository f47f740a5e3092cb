"""The rows of the export parity table: how many, in which order, and what a sample covers."""

import itertools

import parity_cases
from parity_cases import MICRO, all_cases, group_of, sample_of

from tinytl_keras import METHODS


def test_every_row_is_there_once():
    cases = all_cases()
    assert len(set(cases)) == len(cases)
    assert sum(case.kernels != MICRO for case in cases) == 6 * 6 * 3 * 2 * 2
    assert sum(case.kernels == MICRO for case in cases) == 6 * 2
    assert len({str(case) for case in cases}) == len(cases), "rows are kept by name"


def test_cases_that_share_a_model_stand_together():
    groups = [group for group, _ in itertools.groupby(all_cases(), key=group_of)]
    assert len(set(groups)) == len(groups) == 6 * 6 * 2


def test_a_sample_covers_every_network_method_and_optimizer_once():
    sample = sample_of(all_cases())
    litert = [case for case in sample if case.kernels != MICRO]
    covered = {(case.network, case.method, case.optimizer) for case in litert}
    assert len(covered) == len(litert) == 6 * 6 * 3
    for optimizer in parity_cases.OPTIMIZERS:
        pairs = {(case.batch_size, case.kernels) for case in litert if case.optimizer == optimizer}
        assert len(pairs) == 4
    assert {case.network for case in sample if case.kernels == MICRO} == set(parity_cases.NETWORKS)


def test_every_case_has_a_rate():
    assert all(case.learning_rate > 0 for case in all_cases())
    assert {case.method for case in all_cases()} == set(METHODS)
