"""`export`: a Keras model to one .tflite that trains. The pipeline, top to bottom."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

from tflite_export import flatbuffer, litert_program, losses, lowering, micro_program, optimizers
from tflite_export.accumulation import Accumulators, accumulated_step
from tflite_export.arena import plan
from tflite_export.atomic import write_atomically
from tflite_export.batch_independence import check_batch_independence
from tflite_export.compiled_model import CompiledModel
from tflite_export.description import describe
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph
from tflite_export.memory_budget import arena_bytes, within_budget
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.channel_split import narrow_maps
from tflite_export.passes.common_subexpressions import merge_common_subexpressions
from tflite_export.passes.one_bit_gradients import approximate_gradients
from tflite_export.report import ExportReport
from tflite_export.train_from import BUDGET, farthest_within_budget, trained_from
from tflite_export.training import OptimizerState, final_layer, training_step
from tflite_export.validation import check_model, check_path, checked
from tflite_export.verify import verify_export
from tflite_export.verify_micro import micro_wheel, verify_micro


def export(
    model,
    path: str | pathlib.Path,
    *,
    batch_size: int = 1,
    micro_batch: int | None = None,
    infer_batch_size: int = 1,
    optimizer="sgd",
    loss="sparse_categorical_crossentropy",
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    class_names: Sequence[str] | None = None,
    input_scale: float = 1.0,
    input_offset: float = 0.0,
    runtime: str = "litert",
    kernels: str | None = None,
    train_from: str | float | None = None,
    memory_budget: int | str | None = None,
    activation_gradients: str = "exact",
    verify: bool = True,
) -> ExportReport:
    """Writes a .tflite of builtin operators that learns: signatures infer, train (or accumulate and apply), save,
    restore and info, or for TFLite Micro one entry.

    What trains is what is trainable in `model`; `tinytl_keras.convert` sets that by method. The exported step runs
    every layer in inference mode: Dropout and augmentation layers are inert, BatchNormalization uses its stored
    statistics.

    Args:
        model: a built Keras 3 model with one input [batch, …] and one output [batch, classes].
        path: where the file goes. It appears whole or not at all.
        batch_size: rows of a training step.
        micro_batch: rows that go through the network at once, of which batch_size is a multiple. The file then has, in
            place of ``train``, ``accumulate`` for every micro-batch and ``apply`` for the step: the same step in less
            memory. Not for models that mix the samples of a batch.
        infer_batch_size: rows of ``infer``.
        optimizer: "sgd", "adam", `tflite_export.SGD`, `tflite_export.Adam`, or a Keras optimiser that means the same.
            The learning rate is an input of the step.
        loss: "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy" or
            "mean_squared_error", or the Keras loss of that name. A final softmax or sigmoid is peeled off.
        label_smoothing: e in ``target (1 - e) + e / classes``.
        clip_norm: the gradient of all variables together is scaled down to this norm, where it is longer, as by Keras's
            ``global_clipnorm``. Such a file has ``accumulate`` and ``apply`` too; micro_batch is batch_size if None.
        class_names: names of the first outputs. Fewer names than outputs leave slots for classes to come.
        input_scale, input_offset: ``x = pixel * input_scale + input_offset``, for whoever feeds the file pixels.
        runtime: "litert", or "micro" for TFLite Micro: a file with the one entry ``step(x, y, learning_rate, mode)``,
            mode 0 infer, 1 train (`micro_program`).
        kernels: LiteRT's kernel set that the file is shaped for, "xnnpack" (its default) or "builtin". The file runs
            with either. TFLite Micro has one set, and takes no such option.
        train_from: the layer or block, by name, that training reaches back to, or the fraction of the trainable layers
            to freeze, counted from the input: 0.25 freezes the first quarter; or "budget": as far back as memory_budget
            allows. The head always trains (`train_from`).
        memory_budget: bytes that the planned arena of a training step may have, that of ``accumulate`` and ``apply``
            together; or text such as "256KB", in which KB and MB are 1024 and 1024 squared. Parts of the forward pass
            are then computed twice instead of kept, about as many as that takes (`memory_budget`).
        activation_gradients: "exact", or "one_bit": the gradient of hard-swish and swish (Keras's hard_swish and silu)
            is taken to be 1 where x > 0 and 0 elsewhere, which is ReLU's, after MobileTL (AAAI 2023). The sign of the
            output tells it, so one byte per element is kept where the exact gradient keeps x, a float. It saves memory
            and time, and changes what is learnt: the true gradients reach from -0.5 to 1.5 (hard-swish, between -3 and
            3) and from -0.1 to 1.1 (swish). All others, GELU among them, stay exact. Verification holds the file
            against Keras with the same approximation.
        verify: whether to hold training steps in the runtime (in LiteRT with both kernel sets) against Keras before
            writing.

    Returns:
        What was written and measured; ``str()`` of it is a table.

    Raises:
        TypeError: `model` is not a Keras 3 model.
        ValueError: an option or a layer is not supported; the message names it.
        VerificationError: the runtime and Keras disagree. Nothing is written.
        ImportError: `verify` for TFLite Micro without its Python wheel.
    """
    options = ExportOptions(
        batch_size, micro_batch, infer_batch_size, optimizer, loss, label_smoothing, clip_norm,
        class_names, input_scale, input_offset, runtime, kernels, train_from, memory_budget, activation_gradients,
    )  # fmt: skip
    check_path(path)
    if verify and runtime == "micro":
        micro_wheel()
    compiled = compile_model(model, options)
    content = compiled.to_bytes()
    hold = verify_micro if runtime == "micro" else verify_export
    verification = hold(content, compiled.program, model, compiled.description) if verify else None
    stock = flatbuffer.read(lowering.stock_inference_file(model, compiled.options.rows)).signatures[0]
    write_atomically(path, content)
    return ExportReport.of(path, content, compiled, plan(stock, runtime).total_bytes, verification)


def compile_model(model, options: ExportOptions) -> CompiledModel:
    """What `export` writes, without a file and without verification; `ExportOptions` are those of `export`.

    Raises:
        TypeError, ValueError: as `export` does.
    """
    options = checked(options)
    check_model(model)
    if options.train_from == BUDGET:
        return farthest_within_budget(model, lambda f: compile_model(model, dataclasses.replace(options, train_from=f)))
    optimizer = optimizers.resolve(options.optimizer)
    variables = trained_from(model, lowering.trainable_variables(model), options.train_from)
    forward = {rows: _forward(model, rows, variables, options.activation_gradients) for rows in options.sizes}
    if options.splits:
        check_batch_independence(forward[max(options.sizes)])
    trained = narrow_maps(forward[options.rows], options.form)
    inferred = forward[options.infer_batch_size]
    if options.form != "xnnpack":  # it packs kernels by signature; elsewhere the same parts are in the file once
        inferred = narrow_maps(inferred, options.form)
    loss = losses.resolve(options.loss, options.label_smoothing, *final_layer(trained))
    state = OptimizerState.of(optimizer, variables)
    description = describe(trained, lowering.frozen_weights(model, variables), loss, optimizer, options)
    if options.accumulates:
        accumulators = Accumulators.of(variables)
        step = accumulated_step(trained, loss, optimizer, state, accumulators, options.clip_norm)
    else:
        accumulators = None
        step = (training_step(trained, loss, optimizer, state),)
    first, *rest = step

    def arena(graph: Graph) -> int:
        return _arena_bytes(graph, rest, trained, options)

    step = (within_budget(first, trained, options.form, options.memory_budget, arena), *rest)
    if options.runtime == "micro":
        program = micro_program.assemble(*step, trained)
    else:
        program = litert_program.assemble(
            step, inferred, options.form,
            kept=(*variables, *state.variables), accumulators=accumulators, info=description.to_json(),
        )  # fmt: skip
    return CompiledModel(program, description, variables, options)


def _arena_bytes(first: Graph, rest: Sequence[Graph], forward: Graph, options: ExportOptions) -> int:
    """What a file with these signatures of a training step, still canonical, plans for them."""
    if options.runtime == "micro":
        program = micro_program.assemble(first, forward)
        return plan(program.signatures[0], "micro", program.offsets).total_bytes
    return sum(arena_bytes(graph, options.form) for graph in (first, *rest))


def _forward(model, rows: int, variables, activation_gradients: str) -> Graph:
    """The canonical forward graph on `rows` samples."""
    graph = merge_common_subexpressions(canonicalise(lowering.lower(model, rows, variables)))
    return approximate_gradients(graph) if activation_gradients == "one_bit" else graph
