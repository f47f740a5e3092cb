"""`export`: a Keras model to one .tflite that trains. The pipeline, top to bottom."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tflite_export import flatbuffer, litert_program, losses, lowering, micro_program, optimizers
from tflite_export.accumulation import Accumulators, accumulated_step
from tflite_export.arena import plan
from tflite_export.atomic import write_atomically
from tflite_export.batch_independence import check_batch_independence
from tflite_export.compiled_model import CompiledModel
from tflite_export.description import describe
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Variable
from tflite_export.inert_layers import inert_layers
from tflite_export.int8_weights import check_any_rounded
from tflite_export.keras_reference import KerasReference
from tflite_export.memory_budget import arena_bytes, in_parts_that_fit, parse_bytes, savings, within_budget
from tflite_export.packed_variables import pack_vectors
from tflite_export.part_variables import in_parts
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.channel_split import PARTS, narrow_maps
from tflite_export.passes.common_subexpressions import merge_common_subexpressions
from tflite_export.passes.kernels_in_parts import compute_in_parts, divisions_of_kernels
from tflite_export.passes.one_bit_gradients import approximate_gradients
from tflite_export.passes.packed_reads import read_packed
from tflite_export.report import ExportReport
from tflite_export.stages import Begin, stages, unseen
from tflite_export.train_from import BUDGET, farthest_within_budget, keras_layers, trained_from, variables_behind
from tflite_export.training import NO_PENALTIES, OptimizerState, final_layer, training_step
from tflite_export.validation import check_model, check_path, checked
from tflite_export.verify import Verification, verify_export
from tflite_export.verify_micro import micro_wheel, verify_micro
from tflite_export.weight_penalties import l2_penalties


def export(
    model,
    path: str | pathlib.Path,
    *,
    batch_size: int = 1,
    micro_batch: int | None = None,
    infer_batch_size: int = 1,
    optimizer="sgd",
    loss="sparse_categorical_crossentropy",
    loss_weights=None,
    label_smoothing: float = 0.0,
    clip_norm: float | None = None,
    class_names: Sequence[str] | None = None,
    input_scale: float | Mapping[str, float] = 1.0,
    input_offset: float | Mapping[str, float] = 0.0,
    runtime: str = "litert",
    kernels: str | None = None,
    train_from: str | float | None = None,
    memory_budget: int | str | None = None,
    activation_gradients: str = "exact",
    frozen: str = "float32",
    verify: bool = True,
) -> ExportReport:
    """Writes a .tflite of builtin operators that learns: signatures infer, train (or accumulate and apply), save,
    restore and info, or for TFLite Micro one entry, with custom operators of ours where you ask for them.

    What trains is what is trainable in `model`; `tinytl_keras.convert` sets that by method. The exported step runs
    every layer in inference mode: Dropout and augmentation layers are inert, BatchNormalization uses its stored
    statistics.

    Args:
        model: a built Keras 3 model. Its inputs are float32, or integers. With several inputs or outputs the signatures
            have Keras's names in place of ``x`` and ``output``, and labels ``y_<output>`` and logits
            ``<output>_logits``.
        path: where the file goes. It appears whole or not at all.
        batch_size: rows of a training step.
        micro_batch: rows that go through the network at once, of which batch_size is a multiple. The file then has, in
            place of ``train``, ``accumulate`` for every micro-batch and ``apply`` for the step: the same step in less
            memory. Not for models that mix the samples of a batch.
        infer_batch_size: rows of ``infer``.
        optimizer: "sgd", "adam", `tflite_export.SGD`, `tflite_export.Adam`, or a Keras optimiser that means the same.
            The learning rate is an input of the step.
        loss: "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy" or
            "mean_squared_error", or the Keras loss of that name. A final softmax or sigmoid is peeled off. An output
            [batch, …, classes] has a label at every place, and the loss is the mean over the places that count. For
            several outputs, as in Keras's ``compile``: one loss for all of them, a list, or a dict by name; an output
            without one (None) only infers (`step_loss`).
        loss_weights: what the loss of each output counts in their sum, a list or dict likewise; 1 if None.
        label_smoothing: e in ``target (1 - e) + e / classes``.
        clip_norm: the gradient of all variables together is scaled down to this norm, where it is longer, as by Keras's
            ``global_clipnorm``. Such a file has ``accumulate`` and ``apply`` too; micro_batch is batch_size if None.
        class_names: names of the first outputs. Fewer names than outputs leave slots for classes to come. With several
            outputs of the model they are those of the first one with a loss over classes.
        input_scale, input_offset: ``x = pixel * input_scale + input_offset``, for whoever feeds the file pixels. Dicts
            by the inputs' names say it for some of several inputs; numbers stand for every float32 input.
        runtime: "litert", or "micro" for TFLite Micro: a file with the one entry ``step(x, y, learning_rate, mode)``,
            mode 0 infer, 1 train (`micro_program`).
        kernels: the kernels that the file is shaped for. LiteRT's are "xnnpack" (its default) or "builtin": the file
            runs with either, and `OnDeviceModel` takes this one. TFLite Micro's own are "builtin" (its default);
            "tinytl" is for our custom operators beside them, which the firmware registers (micro/tflm/README.md):
            convolutions and dense layers with their gradients and updates, one bit an element kept of an activation.
            Their frozen kernels are int8, so it means frozen="int8".
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
        frozen: what the file stores frozen kernels as: "float32", or "int8": rounded symmetrically, one scale per
            output channel. A quarter of the bytes, once for forward and backward pass and all signatures; a kernel
            becomes float32 where it is used, and nothing else is rounded, neither activations nor what trains. So the
            step is the exact one of *another base network*, the one with the rounded kernels, and verification holds
            the file against Keras with those (`int8_weights`). Kernels of less than 2,048 numbers may stay float32.
        verify: whether to hold training steps in the runtime (in LiteRT with both kernel sets) against Keras before
            writing.

    Returns:
        What was written and measured; ``str()`` of it is a table.

    Raises:
        TypeError: `model` is not a Keras 3 model.
        ValueError: an option or a layer is not supported; the message names it.
        BudgetTooSmall: memory_budget is; a ValueError that names the least that would do, its `needed`.
        NotDifferentiable: a layer that is to be trained through has no gradient; a ValueError that names it.
        VerificationError: the runtime and Keras disagree. Nothing is written.
        ImportError: `verify` for TFLite Micro without its Python wheel.
        RuntimeError: `verify` with kernels="tinytl", whose C and C++ is compiled for this machine then, without a
            compiler, or with a wheel that does not run it (`micro.tflm_wheel`).
    """
    options = ExportOptions(
        batch_size, micro_batch, infer_batch_size, optimizer, loss, label_smoothing, clip_norm,
        class_names, input_scale, input_offset, runtime, kernels, train_from, memory_budget, loss_weights,
        activation_gradients, frozen,
    )  # fmt: skip
    check_path(path)
    if verify and runtime == "micro":
        micro_wheel()
    verification = None
    with stages(["lowering", "compiling", *(["verifying"] if verify else []), "measuring"]) as begin:
        compiled = compile_model(model, options, begin)
        content = compiled.to_bytes()
        if verify:
            begin("verifying")
            reference = KerasReference(model, compiled.description, compiled.options.frozen)
            verification = verified(content, compiled, reference)
        begin("measuring")
        stock = flatbuffer.read(lowering.stock_inference_file(model, compiled.options.rows)).signatures[0]
        write_atomically(path, content)
        infer_arena_bytes = plan(stock, runtime).total_bytes
    return ExportReport.of(path, content, compiled, infer_arena_bytes, verification, inert_layers(model))


def compile_model(model, options: ExportOptions, begin: Begin = unseen) -> CompiledModel:
    """What `export` writes, without a file and without verification; `ExportOptions` are those of `export`.

    `begin` is called with "lowering" and "compiling".

    Raises:
        TypeError, ValueError: as `export` does.
    """
    options = checked(options)
    check_model(model, options.runtime)
    if options.train_from == BUDGET:
        reached = lambda f: compile_model(model, dataclasses.replace(options, train_from=f), begin)  # noqa: E731
        return farthest_within_budget(keras_layers(model), reached)
    begin("lowering")
    variables = trained_from(model, lowering.trainable_variables(model), options.train_from)
    if options.frozen == "int8" and options.form != "tinytl":
        check_any_rounded(model, variables)
    names, keras_names = lowering.output_names(model), lowering.keras_output_names(model)
    trained_outputs = losses.outputs_with_loss(options.loss, names, keras_names)
    if 0 < len(trained_outputs) < len(names):
        variables = variables_behind(lowering.lower(model, options.rows, variables), trained_outputs)
    return compile_forward(
        lambda rows: lowering.lower(model, rows, variables, options.frozen), variables,
        lowering.frozen_weights(model, variables), options, keras_names, l2_penalties(model, variables), begin,
    )  # fmt: skip


def verified(content: bytes, compiled: CompiledModel, reference) -> Verification:
    """Holds the written file against `reference` (`KerasReference` or `NumpyReference`), in the runtime it is for.

    Raises:
        VerificationError: they disagree.
    """
    if compiled.options.runtime == "micro":
        return verify_micro(content, compiled.program, reference)
    return verify_export(content, reference)


def compile_forward(
    lowered: Callable[[int], Graph],
    variables: tuple[Variable, ...],
    frozen: Iterable[tuple[str, np.ndarray]],
    options: ExportOptions,
    keras_names: Sequence[str] = (),
    penalties: Mapping[str, float] = NO_PENALTIES,
    begin: Begin = unseen,
) -> CompiledModel:
    """From the forward pass to the file's program: what `export` and `make_trainable` share.

    Args:
        lowered: the forward graph on so many rows, in which every variable is read.
        variables: those that train.
        frozen: name and value of every other weight, for the fingerprint.
        options: in final form.
        keras_names: what Keras calls the outputs, where a loss may go by that.
        penalties: the l2 of every variable that has one.
        begin: called with "compiling" when the graphs are there.

    Raises:
        ValueError: an option does not fit the network.
    """
    forward = {rows: forward_graph(lowered(rows), options) for rows in options.sizes}
    if options.splits:
        check_batch_independence(forward[max(options.sizes)])
    begin("compiling")
    frozen, counts = list(frozen), PARTS[options.form]
    return in_parts_that_fit(
        counts[-1:] if options.memory_budget is None else counts,
        lambda parts: _compiled(forward, parts, variables, frozen, options, keras_names, penalties),
    )


def _compiled(
    forward: Mapping[int, Graph],
    parts: int,
    variables: tuple[Variable, ...],
    frozen: Iterable[tuple[str, np.ndarray]],
    options: ExportOptions,
    keras_names: Sequence[str],
    penalties: Mapping[str, float],
) -> CompiledModel:
    """`compile_forward`, of canonical forward graphs by rows, with the widest maps in `parts` parts."""
    optimizer = optimizers.resolve(options.optimizer)
    trained = narrow_maps(forward[options.rows], parts)
    inferred = forward[options.infer_batch_size]
    if options.form != "xnnpack":  # it packs kernels by signature; elsewhere the same parts are in the file once
        inferred = narrow_maps(inferred, parts)
    ends = {name: final_layer(trained, name) for name in trained.outputs}
    outputs = losses.resolve_outputs(
        options.loss, options.loss_weights, options.label_smoothing, ends, keras_names or [*ends]
    )
    loss = outputs[0].loss if len(ends) == 1 else outputs
    description = describe(trained, frozen, loss, optimizer, options, penalties)
    stored = variables
    if options.form == "builtin":
        divisions = divisions_of_kernels(trained).items() & divisions_of_kernels(inferred).items()
        stored = in_parts(pack_vectors(variables, apart=penalties), dict(divisions), apart=penalties)
        trained, inferred = (compute_in_parts(read_packed(graph, stored), stored) for graph in (trained, inferred))
    state = OptimizerState.of(optimizer, stored)
    if options.accumulates:
        accumulators = Accumulators.of(stored)
        step = accumulated_step(trained, loss, optimizer, state, accumulators, options.clip_norm, penalties)
    else:
        accumulators = None
        step = (training_step(trained, loss, optimizer, state, penalties, whole_updates=options.form == "tinytl"),)
    first, *rest = step

    def arena(graph: Graph) -> int:
        return _arena_bytes(graph, rest, trained, options)

    budget = parse_bytes(options.memory_budget)
    other_savings = savings(trained, options, one_bit=bool(keras_names))  # make_trainable has no activation_gradients
    step = (within_budget(first, trained, options.form, budget, arena, other_savings), *rest)
    if options.runtime == "micro":
        program = micro_program.assemble(*step, trained, options.form, options.frozen)
    else:
        program = litert_program.assemble(
            step, inferred, options.form, options.frozen,
            kept=(*stored, *state.variables), accumulators=accumulators, info=description.to_json(),
        )  # fmt: skip
    return CompiledModel(program, description, variables, options)


def _arena_bytes(first: Graph, rest: Sequence[Graph], forward: Graph, options: ExportOptions) -> int:
    """What a file with these signatures of a training step, still canonical, plans for them."""
    if options.runtime == "micro":
        program = micro_program.assemble(first, forward, options.form, options.frozen)
        return plan(program.signatures[0], "micro", program.offsets).total_bytes
    return sum(arena_bytes(graph, options.form, options.frozen) for graph in (first, *rest))


def forward_graph(lowered: Graph, options: ExportOptions) -> Graph:
    """The canonical form of a forward graph."""
    graph = merge_common_subexpressions(canonicalise(lowered))
    return approximate_gradients(graph) if options.activation_gradients == "one_bit" else graph
