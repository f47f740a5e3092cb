"""`export`: a Keras model to one .tflite that trains. The pipeline, top to bottom."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from tflite_export import checksum, flatbuffer, litert_program, losses, lowering, micro_program, optimizers
from tflite_export.arena import plan
from tflite_export.atomic import write_atomically
from tflite_export.description import describe
from tflite_export.passes.canonical import canonicalise
from tflite_export.report import ExportReport
from tflite_export.training import OptimizerState, final_layer, training_step
from tflite_export.validation import check_model, check_options, check_runtime, checked_sizes
from tflite_export.verify import verify_export
from tflite_export.verify_micro import verify_micro


def export(
    model,
    path: str | pathlib.Path,
    *,
    batch_size: int = 1,
    infer_batch_size: int = 1,
    optimizer="sgd",
    loss="sparse_categorical_crossentropy",
    label_smoothing: float = 0.0,
    class_names: Sequence[str] | None = None,
    input_scale: float = 1.0,
    input_offset: float = 0.0,
    runtime: str = "litert",
    kernels: str | None = None,
    verify: bool = True,
) -> ExportReport:
    """Writes a .tflite of builtin operators that learns: signatures infer, train, save, restore and info, or for TFLite
    Micro one entry.

    What trains is what is trainable in `model`; `tinytl_keras.convert` sets that by method. The exported step runs
    every layer in inference mode: Dropout and augmentation layers are inert, BatchNormalization uses its stored
    statistics.

    Args:
        model: a built Keras 3 model with one input [batch, …] and one output [batch, classes].
        path: where the file goes. It appears whole or not at all.
        batch_size: rows of a training step.
        infer_batch_size: rows of ``infer``.
        optimizer: "sgd", "adam", `tflite_export.SGD`, `tflite_export.Adam`, or a Keras optimiser that means the same.
            The learning rate is an input of the step.
        loss: "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy" or
            "mean_squared_error", or the Keras loss of that name. A final softmax or sigmoid is peeled off.
        label_smoothing: e in ``target (1 - e) + e / classes``.
        class_names: names of the first outputs. Fewer names than outputs leave slots for classes to come.
        input_scale, input_offset: ``x = pixel * input_scale + input_offset``, for whoever feeds the file pixels.
        runtime: "litert", or "micro" for TFLite Micro: a file with the one entry ``step(x, y, learning_rate, mode)``,
            mode 0 infer, 1 train (`micro_program`).
        kernels: LiteRT's kernel set that the file is shaped for, "xnnpack" (its default) or "builtin". The file runs
            with either. TFLite Micro has one set, and takes no such option.
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
    check_options(path, class_names, input_scale, input_offset)
    batch_size, infer_batch_size = checked_sizes(batch_size=batch_size, infer_batch_size=infer_batch_size)
    form = check_runtime(runtime, kernels, batch_size, infer_batch_size, verify)
    check_model(model)
    optimizer = optimizers.resolve(optimizer)

    variables = lowering.trainable_variables(model)
    forward = {rows: canonicalise(lowering.lower(model, rows, variables)) for rows in {batch_size, infer_batch_size}}
    loss = losses.resolve(loss, label_smoothing, *final_layer(forward[batch_size]))
    state = OptimizerState.of(optimizer, variables)
    step = training_step(forward[batch_size], loss, optimizer, state)
    description = describe(
        forward[batch_size], lowering.frozen_weights(model), loss, optimizer,
        class_names=class_names, input_scale=input_scale, input_offset=input_offset,
        batch_size=batch_size, infer_batch_size=infer_batch_size,
    )  # fmt: skip
    if runtime == "micro":
        program = micro_program.assemble(step, forward[batch_size])
    else:
        kept = (*variables, *state.variables)
        program = litert_program.assemble(step, forward[infer_batch_size], kept, form, description.to_json())
    content = checksum.seal(flatbuffer.write(program.with_metadata(tinytl=description.to_json(), **checksum.METADATA)))

    hold = verify_micro if runtime == "micro" else verify_export
    verification = hold(content, program, model, description) if verify else None
    stock = flatbuffer.read(lowering.stock_inference_file(model, batch_size)).signatures[0]
    write_atomically(path, content)
    return ExportReport.of(path, content, program, runtime, variables, plan(stock, runtime).total_bytes, verification)
