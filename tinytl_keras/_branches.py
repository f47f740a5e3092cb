"""Where lite residual branches go, and with what kernel: one plan for a whole model."""

import dataclasses
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tflite_export.topology import Block
from tinytl_keras._block_pairs import block_between
from tinytl_keras._keras_compat import layers_within
from tinytl_keras.blocks import ModelBlocks, blocks_of, shared_start
from tinytl_keras.layers import LiteResidual, WeightStandardizedConv2D, WeightStandardizedDepthwiseConv2D
from tinytl_keras.lite_residual import NOMINAL_RESOLUTION, LiteResidualConfig, kernel_for

PAPER_PREFIX = "proxyless_"
"""Layers of the paper's own nets have names that start so: a name outlives saving, cutting and converting."""

_STANDARDIZED = (WeightStandardizedConv2D, WeightStandardizedDepthwiseConv2D)


@dataclasses.dataclass(frozen=True)
class Branch:
    """A branch to insert.

    Attributes:
        input: `id` of the tensor that it reads.
        arguments: Those of `LiteResidual`, `frozen` left out.
    """

    input: int
    arguments: dict[str, Any]

    def layer(self, frozen: Sequence[str]) -> LiteResidual:
        """A new layer, not built yet."""
        return LiteResidual(frozen=frozen, **self.arguments)


def plan_branches(
    model: keras.Model, blocks: str | Iterable[tuple[Any, Any]], config: LiteResidualConfig
) -> dict[int, list[Branch]]:
    """Decides where branches go.

    Args:
        model: The model that is copied.
        blocks: `"auto"`, or pairs of a block's input and output, each a layer's name or a Keras tensor.
        config: The settings of all branches.

    Returns:
        From the `id` of the tensor that branches are added to, to the branches.

    Raises:
        ValueError: A pair does not name two maps of one graph, the second made from the first; or a block is
            of the data format channels_first.

    Warns:
        UserWarning: A part of the model may hold blocks and cannot be seen into, or no block is found.
    """
    found, unseen = blocks_of(model)
    nominal = _nominal_resolutions(found)
    auto = isinstance(blocks, str)
    if auto:
        targets = [(graph, block) for graph in found for block in graph.blocks]
        any_branch = any(block.has_branch for _, block in targets)
        if targets and not targets[0][1].expands:
            targets = targets[1:]
        targets = [(graph, block) for graph, block in targets if not block.has_branch]
        _warn(model, unseen, bool(targets) or any_branch)
    else:
        targets = [block_between(found, pair) for pair in blocks]
    starts = [shared_start(block) if auto else "" for _, block in targets]
    names = _names(targets, starts, {layer.name for layer in layers_within(model)})
    plan: dict[int, list[Branch]] = {}
    for (graph, block), name in zip(targets, names, strict=True):
        branch = _branch(graph, block, name, nominal.get(block.input), config)
        plan.setdefault(block.main, []).append(branch)
    return plan


def _nominal_resolutions(found: list[ModelBlocks]) -> dict[int, int]:
    """By the inputs of the blocks of the paper's own nets, the resolution that their kernels are chosen by."""
    resolutions = {}
    for graph in found:
        resolution = NOMINAL_RESOLUTION
        for block in graph.blocks:
            if any(node.name.startswith(PAPER_PREFIX) for node in block.nodes):
                resolutions[block.input] = resolution
                resolution //= max(block.strides)
    return resolutions


def _branch(graph: ModelBlocks, block: Block, name: str, nominal: int | None, config: LiteResidualConfig) -> Branch:
    layers = [graph.layers[node.outputs[0]] for node in block.nodes]
    if any(getattr(layer, "data_format", None) == "channels_first" for layer in layers):
        raise ValueError(
            f"The block of layer {layers[0].name!r} is channels_first; a lite residual branch needs channels_last, "
            "as TFLite does. Build the model with `data_format='channels_last'`."
        )
    sizes = [size for size in graph.tensors[block.input].shape[1:3] if size is not None]
    main_sizes = [size for size in graph.tensors[block.main].shape[1:3] if size is not None]
    pooled = min((size // config.pool for size in sizes), default=config.kernel_size)
    resolution = pooled if nominal is None or pooled == 0 else nominal // config.pool
    kernel = kernel_for(resolution, config.kernel_size)
    strides = block.strides
    if len(sizes) == len(main_sizes) == 2:
        strides = tuple(max(1, round(size / main)) for size, main in zip(sizes, main_sizes))
    policies = [layer.dtype_policy for layer in layers if getattr(layer, "weights", ())]
    settings = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    settings |= {"kernel_size": kernel or 1, "pool": config.pool if kernel else None, "strides": strides}
    settings["weight_standardization"] = any(
        isinstance(inner, _STANDARDIZED) for layer in layers for inner in _layers_of(layer)
    )
    return Branch(block.input, {**settings, "name": name, "dtype": policies[0] if policies else None})


def _layers_of(operation: Any) -> list[keras.layers.Layer]:
    return layers_within(operation) if isinstance(operation, keras.layers.Layer) else []


def _names(targets: list[tuple[ModelBlocks, Block]], starts: list[str], taken: set[str]) -> list[str]:
    """`<block>_lite_residual`: the start that the names of the block's layers share, else the last one's name."""
    names = []
    for (graph, block), start in zip(targets, starts, strict=True):
        unique = start and starts.count(start) == 1
        wanted = f"{start if unique else graph.layers[block.main].name}_lite_residual"
        candidates = (wanted, *(f"{wanted}_{i}" for i in range(1, len(targets) + len(taken) + 1)))
        names.append(next(name for name in candidates if name not in taken))
        taken.add(names[-1])
    return names


def _warn(model: keras.Model, unseen: list[str], any_block: bool) -> None:
    remedy = "Pass `blocks=[(input, output), …]`, layer names or tensors, to say where branches go."
    if unseen:
        message = f"Model {model.name!r}: no lite residual branch goes inside {'; nor inside '.join(unseen)}. {remedy}"
        warnings.warn(message, stacklevel=4)
    if not any_block:
        warnings.warn(
            f"Model {model.name!r} has no residual or inverted residual block that can be seen, so it gets no "
            f"lite residual branch. {remedy} Or take method='bias'.",
            stacklevel=4,
        )
