"""The memory of the training step that `tflite_export.export` would write, told by Keras layers and blocks."""

from collections import defaultdict
from typing import Any

import keras

from tinytl_keras.memory.block_names import blocks_of_layers
from tinytl_keras.memory.report import WORKSPACE, LayerMemory, LiveTensor, MemoryReport, Moment, with_reach

_LOSS, _OTHER = "loss", "other"  # operators of no Keras layer
_INPUTS = {"x": "input", "y": "labels"}


def compiled_report(model: keras.Model, batch_size: int, export_options: dict[str, Any]) -> MemoryReport:
    """Compiles the model as `tflite_export.export` does, and writes nothing.

    Raises:
        TypeError, ValueError: What `tflite_export.export` raises.
    """
    from tflite_export.training_memory import training_memory

    memory = training_memory(model, batch_size=batch_size, **export_options)
    blocks = blocks_of_layers(model)
    steps = [_Step(timeline, blocks) for timeline in memory.timelines]
    moments = [moment for step in steps for moment in step.moments]
    peak = max(steps, key=lambda step: step.moments[step.peak].live_bytes)
    arena = "arena of the step" if len(steps) == 1 else "arenas of accumulate and apply"
    parts = (
        ("frozen weights and constants", memory.weight_bytes),
        ("trainable weights", memory.trainable_bytes),
        ("optimizer state", memory.optimizer_bytes),
        ("accumulated gradients", memory.accumulator_bytes),
        (arena, memory.arena_bytes),
    )
    return MemoryReport(
        model=model.name,
        accounting="compiled",
        batch_size=batch_size,
        total_bytes=sum(count for _, count in parts),
        parts=tuple((name, count) for name, count in parts if count),
        parameter_bytes=memory.weight_bytes + memory.trainable_bytes,
        peak_activation_bytes=-(-peak.moments[peak.peak].live_bytes // memory.rows),
        trainable_parameters=memory.trainable_parameters,
        frozen_parameters=model.count_params() - memory.trainable_parameters,
        layers=with_reach(_layers(steps, blocks, [tensor.name for tensor in model.inputs])),
        moments=tuple(moments),
        forward_moments=memory.timelines[0].backward,
        peak_tensors=tuple(sorted(peak.live(peak.peak), key=lambda tensor: -tensor.nbytes)),
        arena_bytes=memory.arena_bytes,
        inference_arena_bytes=memory.inference_arena_bytes,
    )


class _Step:
    """A timeline (`tflite_export.timeline`) whose operators have Keras layers."""

    def __init__(self, timeline: Any, blocks: dict[str, str]):
        self.timeline = timeline
        self.inputs = {tensor: _INPUTS.get(name, name) for name, tensor in timeline.graph.inputs.items()}
        self.layers = [_layer_of(op.origin, blocks) for op in timeline.graph.ops]
        live = timeline.live_bytes()
        self.moments = [
            Moment(layer, op.kind, *counts)
            for layer, op, *counts in zip(self.layers, timeline.graph.ops, *live.values(), strict=True)
        ]
        self.peak = max(range(len(self.moments)), key=lambda i: self.moments[i].live_bytes)

    def live(self, time: int) -> list[LiveTensor]:
        """What is live while operator `time` runs."""
        tensors = []
        for buffer in self.timeline.live(time):
            content = buffer.content(time)
            tensor, writer = buffer.tensors[content], buffer.written[content]
            layer = self.inputs[tensor] if writer < 0 else self.layers[writer]
            backward = writer >= self.timeline.backward
            tensors.append(LiveTensor(layer, tensor.shape, tensor.dtype, buffer.nbytes, buffer.role(time), backward))
        if size := self.timeline.workspace[time]:
            backward = time >= self.timeline.backward
            tensors.append(LiveTensor(self.layers[time], (size,), "uint8", size, WORKSPACE, backward))
        return tensors


def _layers(steps: list[_Step], blocks: dict[str, str], inputs: list[str]) -> list[LayerMemory]:
    """The layers that have operators. The few bytes of operators that belong to none, and of labels, have no row."""
    forward, stored, peak = defaultdict(int), defaultdict(int), defaultdict(int)
    for step in steps:
        for layer, moment in zip(step.layers, step.moments, strict=True):
            peak[layer] = max(peak[layer], moment.live_bytes)
        for buffer in step.timeline.buffers:
            if 0 <= buffer.written[0] < step.timeline.backward:
                forward[step.layers[buffer.written[0]]] += buffer.nbytes
            if buffer.stored:
                content = buffer.content(buffer.stored[0])
                writer = buffer.written[content]
                stored[step.inputs[buffer.tensors[content]] if writer < 0 else step.layers[writer]] += buffer.nbytes
    return [
        LayerMemory(name, blocks.get(name, ""), forward[name], stored[name], 0, peak[name])
        for name in dict.fromkeys((_INPUTS["x"], *inputs, *blocks, _LOSS))
        if forward[name] or stored[name] or peak[name]
    ]


def _layer_of(origin: str, layers: dict[str, str]) -> str:
    """The layer that an operator's origin names, itself or as the owner of a weight (`layer/…/kernel`)."""
    owners = [part for part in (origin, *origin.split("/")) if part in layers]
    return owners[0] if owners else _LOSS if origin == _LOSS else _OTHER
