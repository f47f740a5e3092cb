"""Recomputation: the same updates whatever is computed twice, from old values, and at the stated cost."""

import itertools

import pytest

from tests.tflite_export.block_networks import NETWORKS, Network, batch_of, inverted_residuals, lite, plain, step_of
from tests.tflite_export.training_updates import assert_same_updates
from tflite_export.builder import constant
from tflite_export.graph import Graph, producers
from tflite_export.passes.channel_split import split_channels
from tflite_export.passes.common_subexpressions import merge_common_subexpressions
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rematerialise import elementwise_segment, rematerialise, segments, weight_segment

KINDS = {
    "segments": segments,
    "weights": lambda step, forward: [weight_segment(step, forward)],
    "elementwise": lambda step, forward: [elementwise_segment(step, forward)],
}


def again(step: Graph):
    return [op for op in step.ops if op.outputs and "/again" in op.outputs[0].name]


def products(ops) -> int:
    """Multiplications of convolutions and matrix products, counted tap by tap; one for every other element."""
    total = 0
    for op in ops:
        (y,) = op.outputs
        if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel = op.inputs[1]
            total += y.size * kernel.size // kernel.shape[0 if op.kind == "CONV_2D" else 3]
        elif op.kind == "MATMUL":
            total += op.inputs[0].size * op.inputs[1].size // op.inputs[1].shape[1 if op.attributes["adj_y"] else 0]
        else:
            total += y.size
    return total


@pytest.mark.parametrize("kinds", [("segments",), ("weights",), ("elementwise",), tuple(KINDS)], ids="+".join)
@pytest.mark.parametrize("largest", [None, 1])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_updates_stay(network, largest, kinds):
    original = NETWORKS[network]()
    forward = merge_common_subexpressions(original)
    forward = forward if largest is None else split_channels(forward, largest)
    step = step_of(forward)
    for kind in kinds:
        chosen = KINDS[kind](step, forward.ops)
        before = len(step.ops)
        step = rematerialise(step, forward.ops, chosen)
        assert (len(step.ops) > before) == any(segment.multiplications for segment in chosen)
    assert_same_updates(step_of(original), step, batch_of(original))


@pytest.mark.parametrize("network", [inverted_residuals, lite, plain])
def test_every_choice_of_segments_gives_the_same_updates(network):
    forward = network()
    step, batch = step_of(forward), batch_of(forward)
    found = segments(step, forward.ops)
    for mask in itertools.product([False, True], repeat=len(found)):
        chosen = list(itertools.compress(found, mask))
        assert_same_updates(step, rematerialise(step, forward.ops, chosen), batch)
        assert_same_updates(step, rematerialise(step, forward.ops, chosen[::-1]), batch)


@pytest.mark.parametrize("network", NETWORKS)
def test_segments_are_the_forward_pass_in_order(network):
    forward = NETWORKS[network]()
    step = step_of(forward)
    found = segments(step, forward.ops)
    ops = [op for segment in found for op in segment.ops]
    of_variables = set(weight_segment(step, forward.ops).ops)
    assert ops == [op for op in forward.ops if op not in of_variables]
    table = producers(forward.ops)
    for segment in found[1:]:  # one tensor alone leads from a segment to what follows, variables apart
        entering = {t for op in segment.ops for t in op.inputs if t in table and table[t] not in segment.ops}
        assert len([t for t in entering if table[t] not in of_variables]) == 1


def test_every_block_is_a_segment():
    forward = inverted_residuals()
    found = segments(step_of(forward), forward.ops)
    strides = [[op.attributes["stride_h"] for op in s.ops if op.kind == "DEPTHWISE_CONV_2D"] for s in found]
    assert strides == [[1], [2], [1]] or strides == [[], [1], [2], [1]]


@pytest.mark.parametrize("largest", [None, 1])
@pytest.mark.parametrize("network", NETWORKS)
def test_what_a_segment_costs(network, largest):
    """Alone, together, and as the evaluator would count it: the difference in multiplications is the stated one."""
    forward = NETWORKS[network]()
    forward = forward if largest is None else split_channels(forward, largest)
    step = step_of(forward)
    found = segments(step, forward.ops)
    for chosen in ([segment] for segment in found):
        assert products(again(rematerialise(step, forward.ops, chosen))) == chosen[0].multiplications
    copied = again(rematerialise(step, forward.ops, found))
    assert products(copied) == sum(segment.multiplications for segment in found)
    for single in (weight_segment, elementwise_segment):
        segment = single(step, forward.ops)
        assert products(again(rematerialise(step, forward.ops, [segment]))) == segment.multiplications


def test_what_a_segment_keeps():
    """The bytes of the forward tensors that the backward pass reads, one per element for a mask."""
    n = Network(6, 5, 4, batch=1)
    y = n.act(n.dense(n.x, 16))
    y = n.act(n.b.mul(y, n.variable(n.normal(16, scale=1))), "TANH")
    forward = n.head(n.dense(y, 4))
    pixels = 6 * 5
    (segment,) = segments(step_of(forward), forward.ops)
    # RELU6's map is read for its mask and in full for the scale; then TANH's output, and the logits for the loss.
    assert segment.kept_bytes == 4 * (pixels * 16 + pixels * 16 + 4)
    n = Network(6, 5, 4, batch=1)
    forward = n.head(n.dense(n.act(n.dense(n.x, 16)), 4))
    (segment,) = segments(step_of(forward), forward.ops)
    assert segment.kept_bytes == pixels * 16 + 4 * 4


def test_copies_read_old_values():
    """Every copy stands before the first assignment, and so does every read that it depends on."""
    for network in NETWORKS.values():
        forward = split_channels(network(), 1)
        step = step_of(forward)
        for find in KINDS.values():
            step = rematerialise(step, forward.ops, find(step, forward.ops))
        first = next(i for i, op in enumerate(step.ops) if op.kind == "ASSIGN_VARIABLE")
        copies = set(again(step))
        assert all(op not in copies for op in step.ops[first:])


def test_cheap_arithmetic_is_not_kept():
    """Of group normalization and TANH the backward pass keeps the map that enters; all others follow from it."""
    n = Network(8, 8, 4, batch=1)
    forward = n.head(n.act(n.group_norm(n.dense(n.x, 16), 4), "TANH"))
    step = step_of(forward)
    segment = elementwise_segment(step, forward.ops)
    assert [op.kind for op in segment.ops] == ["SUB", "MUL", "ADD", "RESHAPE", "MUL", "ADD", "TANH"]
    assert segment.multiplications == 7 * 8 * 8 * 16
    inside = set(forward.ops)

    def wide(graph):
        read = {t for op in graph.ops if op not in inside for t in op.inputs}
        return [op.kind for op in forward.ops if op.outputs[0] in read and op.outputs[0].size == 8 * 8 * 16]

    assert wide(step) == ["RESHAPE", "SUB", "TANH"]
    assert wide(rematerialise(step, forward.ops, [segment])) == ["RESHAPE"]


def test_chains_of_cheap_arithmetic_are_followed_to_what_is_kept():
    n = Network(4, 4, 4, batch=1)
    kept = n.act(n.dense(n.x, 8), "TANH")
    derived = n.b.add(n.b.scale(kept, 2), constant(n.normal(8, scale=1)))  # small operands are kept for it
    for y in (n.b.mul(derived, n.variable(n.normal(8, scale=1))), n.act(derived, "LOGISTIC")):
        n.x = n.b.add(n.x, n.dense(y, 4))
    forward = n.head(n.x)
    step = step_of(forward)
    segment = elementwise_segment(step, forward.ops)
    assert [op.kind for op in segment.ops] == ["MUL", "ADD", "LOGISTIC"]
    assert_same_updates(step, rematerialise(step, forward.ops, [segment]), batch_of(forward))


def test_weights_that_are_derived_from_variables():
    """The chain from the read of the kernel on; a bias is read again too, and costs its size."""
    forward = lite()
    segment = weight_segment(step_of(forward), forward.ops)
    assert {op.kind for op in segment.ops} == {"READ_VARIABLE", "MEAN", "SUB", "MUL", "ADD", "RSQRT"}
    assert not any(tensor is forward.inputs["x"] for op in segment.ops for tensor in op.inputs)


def test_nothing_chosen_changes_nothing():
    forward = inverted_residuals()
    step = step_of(forward)
    assert rematerialise(step, forward.ops, []).ops == step.ops


def test_what_is_copied_is_needed():
    forward = split_channels(lite(), 1)
    step = step_of(forward)
    for find in KINDS.values():
        step = rematerialise(step, forward.ops, find(step, forward.ops))
    assert set(again(step)) <= set(remove_dead_code(step).ops)


def test_deep_networks():
    """A chain of a thousand operators in one segment."""
    n = Network(3, 3, 4, batch=1)
    x = n.x
    for _ in range(300):
        x = n.act(n.dense(x, 4), "TANH")
    forward = n.head(x)
    step = step_of(forward)
    (segment,) = segments(step, forward.ops)
    assert len(again(rematerialise(step, forward.ops, [segment]))) > 900
