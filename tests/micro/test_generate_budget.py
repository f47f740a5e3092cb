"""The budget chooses what trains, and says what it would take."""

from __future__ import annotations

import pytest

from tests.micro import networks
from tflite_export import micro
from tflite_export.memory_budget import BudgetTooSmall

WITHOUT = {"verify": False, "name": "net"}


@pytest.fixture(scope="module")
def model():
    return networks.prepared(networks.inverted_residuals(32, 32), "lite_residual+bias")


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    return micro.generate(model, tmp_path_factory.mktemp("whole"), **WITHOUT)


def test_without_a_budget_everything_trains(model, whole):
    assert set(whole.trainable_names) == {v.path for v in model.trainable_variables}
    assert whole.given_up == ()
    assert whole.ram_bytes == whole.arena_bytes + whole.state_bytes + whole.stack_bytes
    assert whole.flash_bytes == whole.constant_bytes + whole.initial_bytes + whole.code_bytes


def test_a_smaller_budget_trains_less_and_says_what_it_gave_up(model, whole, tmp_path):
    bias_of_stem, trained = "stem/bias", []
    for share in (1.0, 0.93, 0.86, 0.8):
        budget = int(whole.ram_bytes * share)
        try:
            report = micro.generate(model, tmp_path, ram_budget=budget, **WITHOUT)
        except BudgetTooSmall:
            break
        assert report.ram_bytes <= budget
        assert "head/kernel" in report.trainable_names
        trained.append(len(report.trainable_names))
        if len(report.trainable_names) < len(whole.trainable_names):
            assert report.given_up
            assert "given up" in str(report)
    assert trained[0] == len(whole.trainable_names)
    assert trained == sorted(trained, reverse=True)
    assert len(set(trained)) > 1, "no budget of these made a difference"
    assert bias_of_stem in whole.trainable_names


def test_too_small_a_budget_names_the_least_that_would_do(model, tmp_path):
    with pytest.raises(BudgetTooSmall, match="ram_budget=9,000 bytes is too small.*needs [0-9,]+ ") as refusal:
        micro.generate(model, tmp_path, ram_budget=9000, **WITHOUT)
    assert not list(tmp_path.iterdir())
    report = micro.generate(model, tmp_path, ram_budget=refusal.value.needed, **WITHOUT)
    assert report.ram_bytes <= refusal.value.needed
    assert set(report.trainable_names) == {"head/kernel", "head/bias"}


def test_flash_too(model, tmp_path):
    with pytest.raises(BudgetTooSmall, match="flash_budget=1,000 bytes is too small"):
        micro.generate(model, tmp_path, flash_budget=1000, **WITHOUT)


def test_the_same_every_time(model, whole, tmp_path):
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        micro.generate(model, folder, ram_budget=int(whole.ram_bytes * 0.9), **WITHOUT)
        texts.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert texts[0] == texts[1]


def test_a_frozen_branch_that_adds_nothing_is_left_out(tmp_path):
    import tinytl_keras

    model = tinytl_keras.convert(networks.inverted_residuals(), "lite_residual+bias")
    report = micro.generate(model, tmp_path, train_from="head", **WITHOUT)
    assert set(report.trainable_names) == {"head/kernel", "head/bias"}
    assert "group_norm" not in (tmp_path / "net.c").read_text()


def test_rows_cost_no_multiplication(model, whole, tmp_path):
    """The smallest arena computes what the largest does, and nothing twice."""
    roomy = micro.generate(model, tmp_path, ram_budget="4MB", **WITHOUT)
    assert roomy.row_operators == 0
    assert whole.row_operators > 0
    assert whole.arena_bytes < 0.9 * roomy.arena_bytes
    assert whole.step_multiply_adds == roomy.step_multiply_adds
