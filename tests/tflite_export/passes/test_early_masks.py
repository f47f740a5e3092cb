"""Masks stand right behind the map that they are told from."""

import pytest

from tests.tflite_export.block_networks import NETWORKS, batch_of, inverted_residuals, step_of
from tests.tflite_export.training_updates import assert_same_updates
from tflite_export.builder import Builder
from tflite_export.graph import Graph, Tensor, producers
from tflite_export.memory_budget import recompute
from tflite_export.passes.early_masks import compute_masks_early
from tflite_export.passes.rematerialise import segments


def mask(b: Builder, y: Tensor) -> Tensor:
    return b.op("ACTIVATION_MASK", (y,), y.shape, "bool", activation="RELU")


@pytest.mark.parametrize("network", NETWORKS)
def test_updates_and_operators_stay(network):
    forward = NETWORKS[network]()
    step = step_of(forward)
    early = compute_masks_early(step)
    assert sorted(map(id, early.ops)) == sorted(map(id, step.ops))
    assert_same_updates(step, early, batch_of(forward))


def test_no_mask_waits():
    forward = inverted_residuals()
    step = step_of(forward)
    for graph in (step, recompute(step, forward.ops, segments(step, forward.ops))):
        ops = compute_masks_early(graph).ops
        table, position = producers(ops), {op: i for i, op in enumerate(ops)}
        masks = [op for op in ops if op.kind == "ACTIVATION_MASK"]
        assert len(masks) == 7
        assert all(position[op] == position[table[op.inputs[0]]] + 1 for op in masks)


def test_all_masks_of_a_map_and_of_what_is_given():
    """A mask of an input of the graph has nothing to stand behind, and stays where it is."""
    x, b = Tensor("x", (2, 3)), Builder()
    y = b.unary("RELU", x)
    z = b.unary("TANH", y)
    first, second, given = mask(b, y), mask(b, y), mask(b, x)
    graph = Graph("g", {"x": x}, {"z": z, "first": first, "second": second, "given": given}, tuple(b.ops))
    kinds = [op.outputs[0] for op in compute_masks_early(graph).ops]
    assert kinds == [y, first, second, z, given]
