"""Blocks from plain nodes and edges, no framework in sight."""

import pytest

from tflite_export.topology import MAX_JOINS, Node, find_blocks


def network(*lines: str) -> list[Node]:
    """Nodes from `kind output <- input input [channels] [/stride]`, named after their output."""
    nodes = []
    for line in lines:
        left, _, right = line.partition("<-")
        kind, output = left.split()
        words = right.split()
        strides = next((int(word[1:]) for word in words if word.startswith("/")), 1)
        channels = next((int(word) for word in words if word.isdigit()), None)
        inputs = tuple(word for word in words if not word.isdigit() and not word.startswith("/"))
        nodes.append(Node(output, kind, inputs, (output,), channels, (strides, strides)))
    return nodes


def found(*lines: str, inputs=("x",), outputs=None) -> list[tuple[str, str, str, bool]]:
    nodes = network(*lines)
    topology = find_blocks(nodes, inputs, outputs or (nodes[-1].name,))
    return [(block.input, block.main, block.output, block.skip) for block in topology.blocks]


STEM = ("pad p <- x", "convolution s <- p 16 /2", "norm sn <- s", "activation sa <- sn")


def test_inverted_residual_without_a_skip_behind_a_strided_stem():
    lines = ("pointwise e <- sa 48", "norm en <- e", "activation ea <- en", "pad dp <- ea", "depthwise d <- dp 48 /2")
    lines += ("norm dn <- d", "activation da <- dn", "pointwise q <- da 24", "norm qn <- q")
    assert found(*STEM, *lines) == [("sa", "qn", "qn", False)]
    block = find_blocks(network(*STEM, *lines), ["x"], ["qn"]).blocks[0]
    assert block.strides == (2, 2)
    assert block.expands
    assert [node.name for node in block.nodes] == ["e", "en", "ea", "dp", "d", "dn", "da", "q", "qn"]


def test_expansion_one_begins_at_the_padding():
    lines = ("pad dp <- sa", "depthwise d <- dp 16", "norm dn <- d", "pointwise q <- dn 8", "norm qn <- q")
    block = find_blocks(network(*STEM, *lines), ["x"], ["qn"]).blocks[0]
    assert (block.input, block.main) == ("sa", "qn")
    assert not block.expands


def test_depthwise_separable_layers_that_widen_are_blocks_of_their_own():
    """MobileNet v1: nothing expands, but nothing is an inverted residual either."""
    lines = ("depthwise d <- sa 16", "pointwise q <- d 32", "activation a <- q")
    lines += ("depthwise d2 <- a 32", "pointwise q2 <- d2 64", "activation a2 <- q2")
    topology = find_blocks(network(*STEM, *lines), ["x"], ["a2"])
    assert [(block.input, block.output) for block in topology.blocks] == [("sa", "q"), ("a", "q2")]
    assert all(block.expands for block in topology.blocks)


def test_identity_shortcut_with_a_gate_inside():
    lines = ("pointwise e <- sa 48", "depthwise d <- e 48", "other g <- d", "pointwise r <- g 4", "multiply m <- d r")
    lines += ("pointwise q <- m 16", "identity drop <- q", "add y <- drop sa")
    assert found(*STEM, *lines) == [("sa", "drop", "y", True)]
    assert found(*STEM, *lines[:-1]) == [("sa", "q", "q", False)]


def test_projection_shortcut_the_branch_goes_to_the_longer_path():
    lines = ("convolution a <- sa 16", "convolution b <- a 16", "pointwise c <- sa 16", "add y <- c b")
    assert found(*STEM, *lines) == [("sa", "b", "y", False)]


def test_concatenation_takes_the_branch_on_its_output():
    lines = (
        "convolution a <- sa 4",
        "concat y <- sa a",
        "pointwise t <- y 8",
        "convolution b <- t 4",
        "concat z <- t b",
    )
    assert found(*STEM, *lines) == [("sa", "y", "y", False), ("t", "z", "z", False)]


def test_fused_block_is_linear_and_narrows_and_is_not_the_stem():
    fused = ("convolution e <- sa 64 /2", "activation a <- e", "pointwise q <- a 32", "norm qn <- q")
    assert found(*STEM, *fused) == [("sa", "qn", "qn", False)]
    assert found(*STEM, *fused, "activation after <- qn") == []
    assert found(*STEM, "pointwise q <- sa 8") == []


def test_plain_convolutions_and_residuals_without_convolution_are_no_blocks():
    assert found(*STEM, "convolution a <- sa 32", "other pool <- a", "pointwise b <- pool 64") == []
    assert found(*STEM, "pointwise a <- sa 16", "add y <- a sa") == []


def test_a_branch_that_is_there_is_seen():
    lines = ("pointwise e <- sa 48", "depthwise d <- e 48", "pointwise q <- d 16", "branch l <- sa q", "add y <- l sa")
    block = find_blocks(network(*STEM, *lines), ["x"], ["y"]).blocks[0]
    assert block.has_branch
    alone = find_blocks(network(*STEM, "branch l <- sa 16"), ["x"], ["l"]).blocks
    assert [(block.input, block.has_branch) for block in alone] == [("sa", True)]


@pytest.mark.parametrize(
    ("lines", "inputs", "outputs", "names"),
    [
        ((*STEM, "hidden h <- sa", "activation y <- h"), ["x"], ["y"], [["h"]]),
        (
            ("convolution a <- x", "convolution b <- z", "concat c <- a b", "convolution d <- c", "add y <- d a"),
            *(["x", "z"], ["y"], [["c", "d", "y"]]),
        ),
        ((*STEM, "convolution a <- sa", "convolution c <- sa", "add b <- a sa"), ["x"], ["b", "c"], [["a", "c", "b"]]),
    ],
    ids=["hidden", "two inputs", "two outputs"],
)
def test_what_cannot_be_seen_into_is_reported(lines, inputs, outputs, names):
    topology = find_blocks(network(*lines), inputs, outputs)
    assert topology.blocks == ()
    assert [[node.name for node in region] for region in topology.unseen] == names


def test_a_network_of_crossing_paths_is_no_block():
    """As in U-Net: each level of the way up reads the same level of the way down."""
    levels = MAX_JOINS + 1
    down = [f"convolution d{i} <- {'sa' if i == 0 else f'd{i - 1}'}" for i in range(levels)]
    skips = [*(f"d{i}" for i in reversed(range(levels - 1))), "sa"]
    below = [f"d{levels - 1}", *(f"u{i}" for i in range(levels - 1))]
    up = [f"concat u{i} <- {low} {skip}" for i, (low, skip) in enumerate(zip(below, skips, strict=True))]
    topology = find_blocks(network(*STEM, *down, *up), ["x"], [f"u{levels - 1}"])
    assert topology.blocks == ()
    assert len(topology.unseen) == 1


def test_an_output_that_is_read_too_does_not_hide_what_follows():
    block = ("convolution a <- sa 16", "add y <- a sa", "convolution b <- y 16", "add z <- b y")
    assert found(*STEM, *block, outputs=("y", "z")) == [("sa", "a", "y", True), ("y", "b", "z", True)]


def test_two_heads_one_after_the_other():
    """The pointwise convolution of one is no expansion of the other."""
    first = ("pointwise a <- sa 48",)
    second = ("depthwise d <- sa 16", "pointwise q <- d 8")
    assert found(*STEM, *first, *second, outputs=("a", "q")) == [("sa", "q", "q", False)]


def test_a_block_may_read_the_network_s_input():
    assert found("convolution a <- x 3", "add y <- a x") == [("x", "a", "y", True)]


def test_towers_of_several_inputs_are_searched_one_by_one():
    """A residual block on each of two inputs, and one behind their join; the calls of the towers alternate."""

    def block(name, read):
        return (
            Node(f"{name}_conv", "convolution", (read,), (f"{name}_y",), 4),
            Node(f"{name}_add", "add", (f"{name}_y", read), (f"{name}_out",), 4),
        )

    left, right = block("left", "a"), block("right", "b")
    join = Node("join", "concat", ("left_out", "right_out"), ("joined",), 8)
    nodes = [left[0], right[0], left[1], right[1], join, *block("top", "joined")]
    topology = find_blocks(nodes, ["a", "b"], ["top_out"])
    assert [(block.input, block.main, block.skip) for block in topology.blocks] == [
        ("a", "left_y", True),
        ("b", "right_y", True),
        ("joined", "top_y", True),
    ]
    assert topology.unseen == ()
