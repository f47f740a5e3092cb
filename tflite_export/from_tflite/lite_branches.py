"""Lite residual branches beside the blocks of a graph that came out of a .tflite file.

The branch is that of `tinytl_keras.layers.LiteResidual` with its defaults (paper, section 3.3): average pooling ->
group convolution -> group normalisation -> ReLU -> 1x1 convolution -> group normalisation with gamma 0 -> bilinear
resizing to the size of the main path, added to it. As `tinytl_keras.convert` does in nets whose own convolutions are
not, it does not standardise its kernels: whether a net's were cannot be told from a file, in which they are constants.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np

from tflite_export.builder import Builder, constant, integers
from tflite_export.from_tflite.classifier import glorot_uniform
from tflite_export.from_tflite.weights import Layer, unique_names
from tflite_export.graph import Graph, Op, Tensor, Variable, producers
from tflite_export.lite_residual import (
    CHANNELS_PER_GROUP,
    GROUPS,
    KERNEL_SIZE,
    NORM_EPSILON,
    POOL,
    kernel_for,
    largest_divisor,
    make_divisible,
)
from tflite_export.topology import Block, Node, find_blocks

_ELEMENTWISE = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "PRELU")
_CONVOLUTIONS = ("convolution", "depthwise", "pointwise")


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """A branch to insert: its name, what it reads and what it is added to."""

    name: str
    input: Tensor
    main: Tensor


def find_branches(graph: Graph, layers: Sequence[Layer]) -> list[Branch]:
    """A branch for every residual or inverted residual block, but for a first one that does not expand.

    Args:
        graph: without fused activations.
        layers: those of `graph`.

    Raises:
        ValueError: there is no such block.

    Warns:
        UserWarning: a part of the graph may hold blocks and cannot be taken apart.
    """
    names = {layer.op: layer.name for layer in layers}
    nodes = [_node(op, names) for op in graph.ops if _data(op)]
    topology = find_blocks(nodes, graph.inputs.values(), graph.outputs.values())
    if topology.unseen:
        first, last = topology.unseen[0][0], topology.unseen[0][-1]
        warnings.warn(
            f"no lite residual branch goes inside the operators from {first.name!r} to {last.name!r}: they may hold "
            "blocks, but none can be told apart. tinytl_keras.convert(…, blocks=…) takes blocks by name",
            stacklevel=4,
        )
    blocks = [block for block in topology.blocks if len(block.input.shape) == len(block.main.shape) == 4]
    if blocks and not blocks[0].expands:
        blocks = blocks[1:]
    if not blocks:
        raise ValueError(
            "the file has no residual or inverted residual block that can be seen, so it gets no lite residual branch. "
            "Take method='bias'"
        )
    return [Branch(name, block.input, block.main) for name, block in zip(_names(blocks, layers), blocks, strict=True)]


def with_branches(graph: Graph, branches: Sequence[Branch], trains_last_beta: bool, random) -> Graph:
    """`graph` with every branch added to its block. The output does not change: the last gamma and beta are 0.

    Args:
        trains_last_beta: whether the last beta is a variable; with the biases of the block it would be one too many.
        random: the numpy generator that kernels are drawn from, as Keras's ``glorot_uniform`` draws them.
    """
    table = producers(graph.ops)
    at = {table[branch.main]: branch for branch in branches}
    sums: dict[Tensor, Tensor] = {}
    ops: list[Op] = []
    for op in graph.ops:
        ops.append(dataclasses.replace(op, inputs=tuple(sums.get(t, t) for t in op.inputs)))
        if op in at:
            b = Builder(at[op].name)
            source = sums.get(at[op].input, at[op].input)
            lite = _branch(b, at[op].name, source, at[op].main, trains_last_beta, random)
            sums[at[op].main] = b.add(at[op].main, lite)
            ops += b.ops
    outputs = {name: sums.get(tensor, tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(outputs=outputs, ops=tuple(ops))


# The plain view in which blocks are found


def _data(op: Op) -> tuple[Tensor, ...]:
    return tuple(dict.fromkeys(t for t in op.inputs if t is not None and not t.is_constant))


def _node(op: Op, names: dict[Op, str]) -> Node:
    (output,) = op.outputs[:1]
    steps = (op.attributes.get("stride_h", 1), op.attributes.get("stride_w", 1))
    channels = output.shape[-1] if output.shape else None
    return Node(names.get(op, output.name), _kind(op), _data(op), op.outputs, channels, steps)


def _kind(op: Op) -> str:
    on_map = len(op.outputs[0].shape) == 4
    if op.kind == "DEPTHWISE_CONV_2D":
        return "depthwise"
    if op.kind in ("CONV_2D", "TRANSPOSE_CONV"):
        return "convolution" if math.prod(op.inputs[1].shape[1:3]) > 1 else "pointwise"
    if op.kind in ("FULLY_CONNECTED", "BATCH_MATMUL"):
        return "pointwise" if on_map and len(_data(op)) == 1 else "other"
    if op.kind == "PAD":
        return "pad"
    if op.kind == "CONCATENATION" and len(_data(op)) > 1:
        return "concat"
    if op.kind == "ADD" and len(_data(op)) > 1:
        return "add"
    if len(_data(op)) > 1:
        return "other"
    if op.kind in _ELEMENTWISE:  # a normalisation's scale and offset that the converter did not fold
        return "norm" if op.outputs[0].shape == _data(op)[0].shape else "other"
    return "activation" if len(op.inputs) == 1 and op.outputs[0].shape == op.inputs[0].shape else "other"


def _names(blocks: Sequence[Block], layers: Sequence[Layer]) -> list[str]:
    """``<block>_lite_residual``: what the names of the block's convolutions share, else the last one's name."""
    starts = [_shared_start(block) for block in blocks]
    wanted = []
    for block, start in zip(blocks, starts, strict=True):
        convolutions = [node.name for node in block.nodes if node.kind in _CONVOLUTIONS]
        wanted.append(f"{start if start and starts.count(start) == 1 else convolutions[-1]}_lite_residual")
    return unique_names(wanted, [layer.name for layer in layers])


def _shared_start(block: Block) -> str:
    named = [node.name for node in block.nodes if node.kind in _CONVOLUTIONS]
    shared = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*named))
    start = "".join(letters[0] for letters in shared)
    return start.rpartition("_")[0] if len(named) > 1 else ""


# The branch


def _branch(b: Builder, name: str, x: Tensor, main: Tensor, trains_last_beta: bool, random) -> Tensor:
    """What is added to `main`."""
    sizes, target = x.shape[1:3], main.shape[1:3]
    size = kernel_for(min(sizes) // POOL, KERNEL_SIZE)
    strides = tuple(max(1, round(of / to)) for of, to in zip(sizes, target))
    channels, filters = x.shape[3], main.shape[3]
    middle = make_divisible(channels)
    groups = math.gcd(GROUPS, channels, middle)

    def read(role: str, initial: np.ndarray) -> Tensor:
        return b.read(Variable(f"{name}/{role}", initial.astype(np.float32)))

    def kernel(role: str, filters: int, size: int, inputs: int) -> Tensor:
        area = size * size
        return read(role, glorot_uniform(random, (filters, size, size, inputs), area * inputs, area * filters))

    if size:
        y = _average_pool(b, x)
        y = b.pad(y, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    else:
        y, size, strides = b.reduce("MEAN", x, (1, 2), keep_dims=True), 1, (1, 1)
    y = b.conv_2d(y, kernel("group_conv/kernel", middle, size, channels // groups), strides)
    y = _normalised(b, y, read("norm/gamma", np.ones(middle)), read("norm/beta", np.zeros(middle)))
    y = b.conv_2d(b.unary("RELU", y), kernel("point_conv/kernel", filters, 1, middle))
    gamma = read("last_norm/gamma", np.zeros(filters))
    beta = read("last_norm/beta", np.zeros(filters)) if trains_last_beta else None
    y = _normalised(b, y, gamma, beta)
    if y.shape[1:3] in (target, (1, 1)):  # the global form is one point, which is added to all
        return y
    shape = (y.shape[0], *target, filters)
    options = {"align_corners": False, "half_pixel_centers": True}
    return b.op("RESIZE_BILINEAR", (y, integers(target)), shape, **options)


def _average_pool(b: Builder, x: Tensor) -> Tensor:
    n, height, width, channels = x.shape
    window = dict.fromkeys(("filter_height", "filter_width", "stride_h", "stride_w"), POOL)
    shape = (n, height // POOL, width // POOL, channels)
    return b.op("AVERAGE_POOL_2D", (x,), shape, **window, padding="VALID", fused_activation_function="NONE")


def _normalised(b: Builder, x: Tensor, gamma: Tensor, beta: Tensor | None) -> Tensor:
    """Group normalisation over height, width and the channels of a group, at rank 4."""
    n, height, width, channels = x.shape
    size = largest_divisor(channels, CHANNELS_PER_GROUP)
    y = b.reshape(x, (n, height * width, channels // size, size))
    centred = b.sub(y, b.reduce("MEAN", y, (1, 3), keep_dims=True))
    variance = b.reduce("MEAN", b.unary("SQUARE", centred), (1, 3), keep_dims=True)
    y = b.mul(centred, b.unary("RSQRT", b.add(variance, constant(NORM_EPSILON))))
    y = b.mul(b.reshape(y, x.shape), gamma)
    return y if beta is None else b.add(y, beta)
