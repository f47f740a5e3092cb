"""Wide maps part by part: the same outputs, the same updates, and never more than a part at once."""

import numpy as np
import pytest

from tests.tflite_export.block_networks import (
    NETWORKS,
    Network,
    batch_of,
    early_readers,
    inverted_residuals,
    normalized,
    odd_channels,
    squeeze_and_excite,
    step_of,
    windows,
)
from tests.tflite_export.training_updates import assert_same_updates
from tflite_export.builder import Builder, constant
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor, consumers
from tflite_export.passes.channel_split import split_channels

LARGEST = [1, 700, 4000]


def assert_same_outputs(graph: Graph, split: Graph) -> None:
    inputs = {name: np.random.default_rng(1).normal(size=t.shape) for name, t in graph.inputs.items()}
    expected, got = evaluate(graph, inputs), evaluate(split, inputs)
    assert list(split.inputs.values()) == list(graph.inputs.values()) and set(got) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)


def widths(graph: Graph, kind: str) -> list[int]:
    return [op.outputs[0].shape[3] for op in graph.ops if op.kind == kind]


def multiplications(graph: Graph) -> int:
    """Of all convolutions."""
    convolutions = [op for op in graph.ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    return sum(op.inputs[1].size * op.outputs[0].size // op.outputs[0].shape[3] for op in convolutions)


@pytest.mark.parametrize("largest", LARGEST)
@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_and_updates_stay(network, largest):
    forward = NETWORKS[network]()
    split = split_channels(forward, largest)
    assert_same_outputs(forward, split)
    assert multiplications(split) == multiplications(forward)
    assert split.variables == forward.variables
    assert_same_updates(step_of(forward), step_of(split), batch_of(forward))


@pytest.mark.parametrize(
    "network, parts",
    [(inverted_residuals, 3 + 3 + 4), (normalized, 3), (windows, 3), (early_readers, 3), (odd_channels, 20 + 15)],
)
def test_regions_come_in_as_many_parts_as_they_can(network, parts):
    forward = network()
    sliced = [op for op in split_channels(forward, 1).ops if op.kind == "CONV_2D" and "/part_" in op.outputs[0].name]
    assert len(sliced) == parts


def test_a_part_holds_whole_normalization_groups():
    """24 channels in 6 groups of four go in eights; in 2 groups of twelve, eights and groups only meet at 24."""
    forward = normalized()
    assert widths(split_channels(forward, 1), "DEPTHWISE_CONV_2D") == [8, 8, 8, 24]
    forward = Network(9, 7, 4)
    graph = forward.head(forward.inverted_residual(forward.x, 48, 4, groups=2))
    assert widths(split_channels(graph, 1), "DEPTHWISE_CONV_2D") == [24, 24]
    assert_same_outputs(graph, split_channels(graph, 1))


@pytest.mark.parametrize("units", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("share", [0.99, 0.7, 0.51, 0.5, 0.4, 0.34, 0.21])
def test_no_part_is_larger_than_asked_for(units, share):
    n = Network(6, 6, 3, batch=1)
    graph = n.head(n.inverted_residual(n.x, 8 * units, 3))
    widest = 4 * 6 * 6 * 8 * units
    found = widths(split_channels(graph, int(share * widest)), "DEPTHWISE_CONV_2D")
    assert sum(found) == 8 * units and all(width % 8 == 0 for width in found)
    assert max(found) <= max(8, share * 8 * units)
    assert len(found) <= np.ceil(units / max(1, np.floor(share * units)))


def test_what_fits_stays_as_it_is():
    graph = inverted_residuals()
    assert split_channels(graph, 1 << 20).ops == graph.ops


def test_dense_convolutions_that_need_the_whole_map_at_once_stay():
    """A gate is told from the whole map, and then multiplies it."""
    for convolutions in (True, False):
        graph = squeeze_and_excite(convolutions)
        split = split_channels(graph, 1)
        assert widths(split, "DEPTHWISE_CONV_2D") == [24, 8, 8, 8]
        assert_same_outputs(graph, split)


def test_grouped_and_multiplied_channels_are_not_followed():
    n = Network(6, 6, 4)
    y = n.act(n.dense(n.act(n.dense(n.x, 24)), 24, groups=2))
    kernel = n.kernel(1, 3, 3, 48)
    y = n.dense(n.b.depthwise_conv_2d(n.dense(y, 24), kernel, (1, 1), ((1, 1), (1, 1))), 4)
    graph = n.head(y)
    assert split_channels(graph, 1).ops == graph.ops


def test_a_trained_kernel_is_no_border_but_is_sliced_inside():
    n = Network(6, 6, 4)
    y = n.act(n.dense(n.x, 16))
    y = n.act(n.depthwise(y, 3, trained=True))
    graph = n.head(n.dense(y, 4))
    split = split_channels(graph, 1)
    assert widths(split, "DEPTHWISE_CONV_2D") == [8, 8]
    assert_same_updates(step_of(graph), step_of(split), batch_of(graph))
    n = Network(6, 6, 4)
    graph = n.head(n.dense(n.act(n.dense(n.x, 16)), 4, trained=True))
    assert split_channels(graph, 1).ops == graph.ops


@pytest.mark.parametrize("small", [True, False])
def test_a_map_that_is_an_output_too(small):
    n = Network(8, 8, 3)
    y = n.act(n.dense(n.x, 24))
    seen = n.b.reduce("MEAN", y, (1, 2)) if small else y
    graph = n.head(n.dense(y, 4))
    graph = graph.replace(outputs={**graph.outputs, "map": seen})
    split = split_channels(graph, 1)
    assert len(widths(split, "CONV_2D")) == (2 * 3 if small else 2)
    assert_same_outputs(graph, split)


def test_two_operands_of_the_region_and_constants_of_every_shape():
    n = Network(5, 6, 3)
    b, y = n.b, n.dense(n.x, 16)
    z = b.mul(y, b.unary("LOGISTIC", y))
    z = b.sub(constant(n.normal(16, scale=1)), z)
    z = b.mul(z, constant(n.normal(1, 1, 1, 16, scale=1)))
    z = b.add(z, constant(n.normal(1, 5, 1, 1, scale=1)))
    z = b.maximum(b.mul(z, z), b.scale(y, 0.1))
    z = b.sub(b.reduce("MEAN", y, (0, 1, 2)), z)
    graph = n.head(n.dense(z, 4))
    split = split_channels(graph, 1)
    assert len(widths(split, "CONV_2D")) == 4
    assert_same_outputs(graph, split)


def _other_map(n: Network, y: Tensor) -> Tensor:
    return n.b.add(y, n.dense(n.b.unary("NEG", n.x), 16))


def _channels_as_rows(n: Network, y: Tensor) -> Tensor:
    return n.b.mul(y, n.b.reshape(n.b.reduce("MEAN", y, (1, 2)), (1, 16, 1, 1)))


def _mean_of_channels(n: Network, y: Tensor) -> Tensor:
    return n.b.sub(y, n.b.reshape(n.b.reduce("MEAN", y, (3,)), (*y.shape[:3], 1)))


def _odd_groups(n: Network, y: Tensor) -> Tensor:
    """No slice of 48 channels but all of them is made of whole thirds and of whole quarters."""
    y = n.dense(n.x, 48)
    return n.group_norm(n.act(n.group_norm(y, 3)), 4)


@pytest.mark.parametrize(
    "whole",
    [
        _other_map,
        _channels_as_rows,
        _mean_of_channels,
        _odd_groups,
        lambda n, y: n.group_norm(y, 1),
        lambda n, y: n.b.pad(y, [(0, 0), (0, 0), (0, 0), (8, 8)]),
        lambda n, y: n.b.concatenate([y, y], 3),
        lambda n, y: n.b.transpose(y, (0, 2, 1, 3)),
    ],
)
def test_what_needs_all_channels_at_once_is_not_split(whole):
    n = Network(16, 5, 3, batch=1)
    graph = n.head(n.dense(n.act(whole(n, n.dense(n.x, 16))), 4))
    split = split_channels(graph, 1)
    assert split.ops == graph.ops
    assert_same_outputs(graph, split)


@pytest.mark.parametrize("shape", [(2, 30, 1, 16), (60, 16), (2, 30, 4, 4), (2, 5, 6, 2, 8), (1, 2, 1, 30, 8, 2)])
def test_reshaping_and_back(shape):
    n = Network(5, 6, 3)
    y = n.b.reshape(n.b.unary("TANH", n.b.reshape(n.dense(n.x, 16), shape)), (2, 5, 6, 16))
    graph = n.head(n.dense(y, 4))
    split = split_channels(graph, 1)
    assert widths(split, "CONV_2D") == [8, 4] * 2
    assert_same_outputs(graph, split)


def test_channels_that_have_moved_are_no_input_channels():
    """The pooled map's channels stand where a convolution has its columns."""
    n = Network(4, 5, 3, batch=1)
    y = n.b.reduce("MEAN", n.dense(n.x, 64), (1,))  # [1, 5, 64]
    graph = n.head(n.dense(n.b.reshape(y, (1, 5, 16, 4)), 4))
    assert_same_outputs(graph, split_channels(graph, 1))


def test_several_rows_are_summed_in_the_order_of_the_parts():
    """The first part carries no addition: as many additions as parts, less one."""
    b, x = Builder(), Tensor("x", (1, 4, 4, 3))
    random = np.random.default_rng(0)
    y = b.conv_2d(x, constant(random.normal(size=(32, 1, 1, 3))))
    y = b.conv_2d(y, constant(random.normal(size=(2, 1, 1, 32))))
    graph = Graph("g", {"x": x}, {"y": y}, tuple(b.ops))
    split = split_channels(graph, 1)
    assert [op.kind for op in split.ops] == ["CONV_2D"] * 2 + ["CONV_2D", "CONV_2D", "ADD"] * 3
    assert all(len(readers) == 1 for tensor, readers in consumers(split.ops).items() if tensor is not x)
    assert_same_outputs(graph, split)
