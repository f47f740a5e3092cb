"""What the training step that `export` would write needs in memory, part by part and over time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from tflite_export import flatbuffer, lowering, optimizers
from tflite_export._export import compile_model
from tflite_export.arena import plan
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Program, Variable
from tflite_export.timeline import Timeline, timeline
from tflite_export.updates import OptimizerState


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingMemory:
    """Bytes of a compiled training step.

    Attributes:
        rows: samples that are in the network at once.
        weight_bytes: the constants of all signatures; what is the same twice is in the file once.
        trainable_bytes: the variables that train.
        optimizer_bytes: the optimizer's, and its count of steps.
        accumulator_bytes: gradients that wait for ``apply``, and their counts.
        timelines: of ``train``, or of ``accumulate`` and ``apply``, or of the training branch of TFLite Micro's entry.
        arena_bytes: the planned arena, of ``accumulate`` and ``apply`` together; for TFLite Micro of the whole entry.
        inference_arena_bytes: of the stock converter's inference file, on `rows` samples.
        trainable_parameters: how many values train.
    """

    rows: int
    weight_bytes: int
    trainable_bytes: int
    optimizer_bytes: int
    accumulator_bytes: int
    timelines: tuple[Timeline, ...]
    arena_bytes: int
    inference_arena_bytes: int
    trainable_parameters: int


def training_memory(model, **options) -> TrainingMemory:
    """Compiles `model` as `export` does, and writes nothing.

    Args:
        model: a built Keras 3 model.
        options: those of `export`. `verify` changes nothing here.

    Raises:
        TypeError: an option that `export` does not have; and as `export`.
        ValueError: as `export`.
    """
    known = [field.name for field in dataclasses.fields(ExportOptions)]
    options.pop("verify", None)
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise TypeError(f"export has no option {unknown[0]!r}; it has {', '.join(known)}")
    compiled = compile_model(model, ExportOptions(**options))
    program, runtime, rows = compiled.program, compiled.options.runtime, compiled.options.rows
    state = OptimizerState.of(optimizers.resolve(compiled.options.optimizer), compiled.trainables)
    trainables, kept = compiled.trainables, state.variables
    steps = [graph.branches[0] if runtime == "micro" else graph for graph in compiled.training]
    stock = flatbuffer.read(lowering.stock_inference_file(model, rows)).signatures[0]
    return TrainingMemory(
        rows=rows,
        weight_bytes=constant_bytes(program),
        trainable_bytes=_bytes(trainables),
        optimizer_bytes=_bytes(kept),
        accumulator_bytes=_bytes(program.variables) - _bytes(trainables) - _bytes(kept),
        timelines=tuple(timeline(graph, runtime) for graph in steps),
        arena_bytes=sum(plan(graph, runtime, program.offsets).total_bytes for graph in compiled.training),
        inference_arena_bytes=plan(stock, runtime).total_bytes,
        trainable_parameters=sum(v.initial.size for v in compiled.trainables),
    )


def constant_bytes(program: Program) -> int:
    """Bytes of all constants of all signatures; equal contents count once, as `flatbuffer.write` stores them."""
    graphs = [graph for entry in program.signatures for graph in (entry, *entry.branches)]
    tensors = [tensor for graph in graphs for op in graph.ops for tensor in op.inputs if tensor is not None]
    tensors += [tensor for graph in graphs for tensor in graph.outputs.values()]  # the description is one
    return sum(map(len, {tensor.data.tobytes() for tensor in tensors if tensor.is_constant}))


def _bytes(variables: Iterable[Variable]) -> int:
    return sum(variable.initial.nbytes for variable in variables)
