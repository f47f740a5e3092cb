"""Cells of networks without cut tensors, on plain nodes."""

import itertools

import pytest

from tflite_export.cells import FEWEST, find_cells
from tflite_export.topology import Node, find_blocks


def cells_network(count, branches=False, skip=()):
    """Cells that read the outputs of the two before; those of `skip` also read what the third before them made."""
    nodes, ends = [], ["entry", "entry"]
    for i in range(count):
        last, older = ends[-1], ends[-2]
        third = [ends[-3]] if i in skip else []
        nodes += [
            Node(f"conv_{i}", "convolution", (last,), (f"a{i}",)),
            Node(f"adjust_{i}", "pointwise", (older,), (f"p{i}",)),
            Node(f"half_{i}", "concat", (f"p{i}", older), (f"h{i}",)),
            Node(f"add_{i}", "add", (f"a{i}", f"h{i}"), (f"s{i}",)),
            Node(f"cell_{i}", "concat", (f"s{i}", f"a{i}", *third), (f"c{i}",)),
        ]
        if branches:
            nodes.append(Node(f"lite_{i}", "branch", (last, f"c{i}"), (f"b{i}",)))
        ends.append(f"{'b' if branches else 'c'}{i}")
    return nodes, ends[-1]


@pytest.mark.parametrize("branches", [False, True])
@pytest.mark.parametrize("count", [FEWEST, FEWEST + 3])
def test_every_cell_is_found(count, branches):
    nodes, output = cells_network(count, branches)
    cells = find_cells(nodes, "entry", output)
    ends = ["entry", *(f"{'b' if branches else 'c'}{i}" for i in range(count))]
    assert [(start, end) for start, end, _ in cells] == list(itertools.pairwise(ends))
    inner = [node.name for node in cells[2][2]]
    assert inner == ["conv_2", "add_2", "cell_2", *(["lite_2"] if branches else [])]


def test_find_blocks_makes_blocks_of_them():
    for branches in (False, True):
        nodes, output = cells_network(5, branches)
        topology = find_blocks(nodes, ["entry"], [output])
        assert [block.main for block in topology.blocks] == [f"{'b' if branches else 'c'}{i}" for i in range(5)]
        assert all(block.has_branch == branches for block in topology.blocks)
        assert topology.unseen == ()


def test_a_short_chain_proves_nothing():
    nodes, output = cells_network(FEWEST - 1)
    assert find_cells(nodes, "entry", output) == []


def test_a_cell_that_reads_three_outputs_is_none_by_itself():
    """Where the fourth cell reads the first one's output too, the second and third are no pair that all must pass."""
    nodes, output = cells_network(6, skip=(3,))
    pairs = [(start, end) for start, end, _ in find_cells(nodes, "entry", output)]
    assert ("c1", "c2") not in pairs


def test_a_u_net_has_no_cells():
    nodes, depth = [], 9
    for i in range(depth):
        nodes.append(Node(f"down_{i}", "convolution", (f"d{i}" if i else "entry",), (f"d{i + 1}",)))
    last = f"d{depth}"
    for i in reversed(range(depth)):
        nodes.append(Node(f"join_{i}", "concat", (last, f"d{i}" if i else "entry"), (f"j{i}",)))
        nodes.append(Node(f"up_{i}", "convolution", (f"j{i}",), (f"u{i}",)))
        last = f"u{i}"
    nodes.append(Node("top", "concat", (last, "entry"), ("top",)))
    assert find_cells(nodes, "entry", "top") == []
    assert find_blocks(nodes, ["entry"], ["top"]).blocks == ()
