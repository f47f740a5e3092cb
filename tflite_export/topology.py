"""Finds the residual and inverted residual blocks of a network from its plain nodes and edges.

It knows no framework: the caller describes each operation by a `Node`. A *cut tensor* is one beside which no
other tensor is still to be read; the cut tensors divide the graph into regions. A region of several nodes with
an Add or a Concat and a spatial convolution is a residual block. Regions of one node form runs, in which
expand -> depthwise -> project is an inverted residual block without a skip, and so is spatial convolution ->
narrower 1x1 convolution (a fused one). A strided stem is no part of the first block. A region of many joins may be
a chain of cells that read two outputs each (`cells`). Of several inputs, what depends on one alone is searched by
itself.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tflite_export.cells import find_cells

MAX_JOINS = 8
"""Adds and Concats in one block. More of them are a network whose blocks overlap: cells (NASNet), or none (U-Net)."""

_CONVOLUTIONS = frozenset({"convolution", "depthwise", "pointwise"})
_SPATIAL = frozenset({"convolution", "depthwise", "hidden", "branch", "block"})
_JOINS = frozenset({"add", "concat"})


@dataclass(frozen=True)
class Node:
    """One operation. Constants are no edges.

    Attributes:
        name: What a message calls it.
        kind: `"convolution"` (spatial, dense, grouped or separable), `"depthwise"`, `"pointwise"` (1x1 convolution or
            Dense), `"norm"`, `"activation"`, `"pad"`, `"identity"` (dropout), `"add"`, `"concat"`, `"branch"` (holds a
            lite residual branch already), `"block"` (known to be one), `"hidden"` (made of several convolutions) or
            `"other"`.
        inputs: Its data tensors.
        outputs: The tensors that it makes.
        channels: Channels of its output, where that is known.
        strides: Height and width steps.
    """

    name: str
    kind: str
    inputs: tuple[Hashable, ...]
    outputs: tuple[Hashable, ...]
    channels: int | None = None
    strides: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Block:
    """A part of the network that can take a lite residual branch.

    Attributes:
        nodes: Its operations, in order.
        input: The tensor that the block, and so the branch, reads.
        main: The tensor that the branch is added to: the output of the main path before an identity shortcut,
            or the block's output where there is none.
        output: The tensor that the block makes.
        skip: Whether the input itself is added to the main path.
        has_branch: Whether a lite residual branch is there already.
    """

    nodes: tuple[Node, ...]
    input: Hashable
    main: Hashable
    output: Hashable
    skip: bool = False
    has_branch: bool = False

    @property
    def strides(self) -> tuple[int, int]:
        """Height and width steps from input to output, along the path that steps most."""
        steps = {self.input: (1, 1)}
        for node in self.nodes:
            reached = [steps[tensor] for tensor in node.inputs if tensor in steps] or [(1, 1)]
            step = tuple(max(before) * stride for before, stride in zip(zip(*reached), node.strides))
            steps.update(dict.fromkeys(node.outputs, step))
        return steps[self.output]

    @property
    def expands(self) -> bool:
        """False for an inverted residual block of expansion 1: depthwise, then project to no more channels."""
        convolutions = [node for node in self.nodes if node.kind in _CONVOLUTIONS]
        first, rest = convolutions[0] if convolutions else None, convolutions[1:]
        if first is None or first.kind != "depthwise" or not rest:
            return True
        return any(node.kind != "pointwise" or (node.channels or 0) > (first.channels or 0) for node in rest)


@dataclass(frozen=True)
class Topology:
    """What `find_blocks` found.

    Attributes:
        blocks: The blocks, in order.
        unseen: Regions that may hold blocks, and into which it cannot see, each as its nodes: one hidden node; a region
            of more than `MAX_JOINS` joins that is no chain of cells; a region that several inputs enter or several
            outputs leave.
    """

    blocks: tuple[Block, ...]
    unseen: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True)
class _Region:
    nodes: tuple[Node, ...]
    input: Hashable | None
    output: Hashable | None

    def count(self, kinds: frozenset[str]) -> int:
        return sum(node.kind in kinds for node in self.nodes)


def find_blocks(nodes: Sequence[Node], inputs: Iterable[Hashable], outputs: Iterable[Hashable]) -> Topology:
    """Finds the blocks of a network.

    Args:
        nodes: The operations that an output depends on, each behind those whose outputs it reads.
        inputs: The tensors that enter the network.
        outputs: The tensors that leave it. One that is read as well is an ordinary tensor.

    Returns:
        A `Topology`: the blocks, and the regions that may hide more of them.
    """
    parts = [_find_blocks(*part) for part in _towers(nodes, tuple(inputs), tuple(outputs))]
    return Topology(
        tuple(block for part in parts for block in part.blocks), tuple(nodes for part in parts for nodes in part.unseen)
    )


def _towers(
    nodes: Sequence[Node], inputs: Sequence[Hashable], outputs: Sequence[Hashable]
) -> Iterator[tuple[Sequence[Node], set[Hashable], set[Hashable]]]:
    """The part of the network that depends on one input alone, for each; then what reads several of them.

    Beside the tensors of another tower no tensor would be a cut tensor. Gives nodes, inputs and outputs of each part.
    """
    sources: dict[Hashable, frozenset[Hashable]] = {tensor: frozenset({tensor}) for tensor in inputs}
    parts: dict[frozenset[Hashable], list[Node]] = {}
    for node in nodes:
        source = frozenset().union(*(sources.get(tensor, frozenset()) for tensor in node.inputs))
        sources.update(dict.fromkeys(node.outputs, source))
        parts.setdefault(source if len(source) == 1 else frozenset(), []).append(node)
    for part in (*(parts.get(frozenset({tensor})) for tensor in inputs), parts.get(frozenset())):
        if part:
            made = {tensor for node in part for tensor in node.outputs}
            outside = {tensor for node in nodes if not made.intersection(node.outputs) for tensor in node.inputs}
            entering = {tensor for node in part for tensor in node.inputs} - made
            yield part, entering, made & (outside | set(outputs))


def _find_blocks(nodes: Sequence[Node], inputs: set[Hashable], outputs: set[Hashable]) -> Topology:
    blocks: list[Block] = []
    unseen: list[tuple[Node, ...]] = []
    run: list[_Region] = []
    stem = next((node for node in nodes if node.kind in _SPATIAL), None)
    for region in _regions(nodes, inputs, outputs):
        several, spatial = len(region.nodes) > 1, region.count(_SPATIAL) > 0
        is_block = several and spatial and region.count(_JOINS | {"branch"}) > 0
        if run and run[-1].output != region.input:
            blocks += _blocks_of_run(run, stem)
            run = []
        if not is_block and not (spatial and (several or region.nodes[0].kind in ("hidden", "branch", "block"))):
            run.append(region)
            continue
        blocks += _blocks_of_run(run, stem)
        run = []
        if region.nodes[0].kind == "branch" and not several:
            node = region.nodes[0]
            blocks.append(Block(region.nodes, node.inputs[0], region.output, region.output, has_branch=True))
        elif region.nodes[0].kind == "block" and not several:
            blocks.append(Block(region.nodes, region.nodes[0].inputs[0], region.output, region.output))
        elif is_block and region.input is not None and region.output is not None and region.count(_JOINS) <= MAX_JOINS:
            blocks.append(_block_of_region(region))
        elif is_block and (cells := find_cells(region.nodes, region.input, region.output)):
            blocks += [_block_of_cell(*cell) for cell in cells]
        elif is_block or region.count(frozenset({"hidden", "block"})):
            unseen.append(region.nodes)
    return Topology((*blocks, *_blocks_of_run(run, stem)), tuple(unseen))


def _regions(nodes: Sequence[Node], inputs: set[Hashable], outputs: set[Hashable]) -> Iterator[_Region]:
    """Divides the graph at its cut tensors. Inputs that nothing reads do not count."""
    readers = Counter(tensor for node in nodes for tensor in set(node.inputs))
    ends = {tensor for tensor in outputs if tensor not in readers}
    live = {tensor for tensor in inputs if tensor in readers}
    entry = next(iter(live)) if len(live) == 1 else None
    pending: list[Node] = []
    for node in nodes:
        pending.append(node)
        readers.subtract(set(node.inputs))
        live = {tensor for tensor in (*live, *node.outputs) if readers[tensor] > 0}
        if len(live) == 1 or node is nodes[-1]:
            leaving = live | {tensor for inner in pending for tensor in inner.outputs if tensor in ends}
            leaving.discard(entry)  # an entry that is still to be read opens the next region too
            cut = next(iter(leaving)) if len(leaving) == 1 else None
            yield _Region(tuple(pending), entry, cut)
            entry, pending = next(iter(live), None), []


def _block_of_region(region: _Region) -> Block:
    """The block that a region with joins is; a last Add of the input and one other tensor is its skip."""
    last = region.nodes[-1]
    has_branch = any(node.kind == "branch" for node in region.nodes)
    if last.kind == "add" and len(last.inputs) == 2:
        made_by = {tensor: i for i, node in enumerate(region.nodes) for tensor in node.outputs}
        if region.input in last.inputs:
            main = next((tensor for tensor in last.inputs if tensor != region.input), None)
            if main is not None:
                return Block(region.nodes, region.input, main, region.output, True, has_branch)
        else:
            main = max(last.inputs, key=lambda tensor: _depth(tensor, region.nodes, made_by))
            return Block(region.nodes, region.input, main, region.output, False, has_branch)
    return Block(region.nodes, region.input, region.output, region.output, False, has_branch)


def _block_of_cell(start: Hashable, end: Hashable, nodes: tuple[Node, ...]) -> Block:
    return Block(nodes, start, end, end, has_branch=any(node.kind == "branch" for node in nodes))


def _depth(tensor: Hashable, nodes: Sequence[Node], made_by: dict[Hashable, int]) -> int:
    """Length of the longest path from the region's input to a tensor: the shortcut is the shorter one."""
    if tensor not in made_by:
        return 0
    return 1 + max((_depth(read, nodes, made_by) for read in nodes[made_by[tensor]].inputs), default=0)


def _blocks_of_run(run: Sequence[_Region], stem: Node | None) -> Iterator[Block]:
    """Merges a run of single operations (and gates, such as squeeze-and-excitation) into inverted residual blocks."""
    start = 0
    pending: list[str] = []  # the convolutions since `start` that may open a block
    i = 0
    while i < len(run):
        kind = run[i].nodes[0].kind if len(run[i].nodes) == 1 else "gate"
        if kind == "pointwise" and pending and _closes(run, i, pending, stem, start):
            end = i + 1 if i + 1 < len(run) and _is(run[i + 1], "norm") else i
            nodes = tuple(node for region in run[start : end + 1] for node in region.nodes)
            yield Block(nodes, run[start].input, run[end].output, run[end].output)
            pending, i = [], end
        elif kind in _CONVOLUTIONS:
            if not (kind == "depthwise" and pending == ["pointwise"]):
                pending = []
                start = i - 1 if i and _is(run[i - 1], "pad") else i
            pending.append(kind)
        elif kind == "other":
            pending = []
        i += 1


def _closes(run: Sequence[_Region], i: int, pending: list[str], stem: Node | None, start: int) -> bool:
    """Whether the pointwise convolution at `i` is the projection of what is pending."""
    if run[start].input is None:
        return False
    if "depthwise" in pending:
        return True
    opener = next(region.nodes[0] for region in run[start:i] if region.nodes[0].kind in _CONVOLUTIONS)
    narrows = (run[i].nodes[0].channels or 0) < (opener.channels or 0)
    after = next((region for region in run[i + 1 :] if not _is(region, "norm")), None)
    linear = after is None or not _is(after, "activation")
    return opener.kind == "convolution" and opener is not stem and narrows and linear


def _is(region: _Region, kind: str) -> bool:
    return len(region.nodes) == 1 and region.nodes[0].kind == kind
