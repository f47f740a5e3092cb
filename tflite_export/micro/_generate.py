"""`generate`: a Keras model or a .tflite file to a C program that trains. The pipeline, top to bottom."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from tflite_export import losses, optimizers
from tflite_export.description import describe
from tflite_export.export_options import ExportOptions
from tflite_export.memory_budget import parse_bytes
from tflite_export.micro.build import build
from tflite_export.micro.calibration import Calibration, calibration_of
from tflite_export.micro.choose import Budget, choose
from tflite_export.micro.frontend import Frontend
from tflite_export.micro.identifiers import identifier
from tflite_export.micro.int8_activations import int8_operators
from tflite_export.micro.program import MicroProgram
from tflite_export.micro.report import MicroReport
from tflite_export.micro.verify import verify_program
from tflite_export.micro.writing import write_program
from tflite_export.step_loss import final_layer
from tflite_export.train_from import frozen_before
from tflite_export.validation import checked


def generate(
    model_or_tflite,
    out_dir: str | os.PathLike,
    *,
    ram_budget: int | str | None = None,
    flash_budget: int | str | None = None,
    optimizer="sgd",
    loss="sparse_categorical_crossentropy",
    label_smoothing: float = 0.0,
    train_from: str | float | None = None,
    class_names: Sequence[str] | None = None,
    input_dtype: str = "float32",
    input_scale: float = 1.0,
    input_offset: float = 0.0,
    activations: str = "float32",
    calibration: np.ndarray | None = None,
    method: str = "bias",
    num_classes: int | None = None,
    seed: int = 0,
    name: str | None = None,
    verify: bool = True,
) -> MicroReport:
    """Writes ``<name>.c``, ``<name>.h`` and ``<name>.json``: a network that infers and learns on a microcontroller.

    The program is C11 and calls the kernels in ``tflite_export/micro/src``; `micro.copy_kernels` puts them beside it.
    Frozen kernels are int8 with a scale for every output channel and lie in flash, with the initial values of what
    trains; gradients and what trains are float32, and so are activations unless `activations` is "int8". A step takes
    one sample; momentum or Adam average over several. Nothing is allocated.

    Args:
        model_or_tflite: a built Keras model, in which what is trainable trains, or the path of a .tflite file that
            infers, which trains by `method`.
        out_dir: an existing folder.
        ram_budget: bytes, or text such as "256KB" (1024s), for arena, state, input and stack together; None: any
            number, and everything trains. `choose` says what a budget gives up first.
        flash_budget: likewise for kernels, initial values and code.
        optimizer: "sgd", "adam", `tflite_export.SGD` or `Adam`, or a Keras optimiser that means the same.
        loss: "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy" or
            "mean_squared_error", or the Keras loss of that name. A final softmax or sigmoid is peeled off.
        label_smoothing: e in ``target (1 - e) + e / classes``.
        train_from: the layer or block that training reaches back to, or the fraction of the layers to freeze.
        class_names: they stand in the header.
        input_dtype: "float32", or "uint8": x is pixels, a quarter of the memory, and the program makes them
            ``pixel * input_scale + input_offset``.
        input_scale, input_offset: how pixels become the network's input.
        activations: "float32", or "int8": what layers with frozen kernels hand on to one another is int8, forward, with
            CMSIS-NN's arithmetic; gradients stay float32 (`int8_activations`, docs/microcontrollers.md).
        calibration: for "int8" some dozens of representative inputs [n, …], pixels where `input_dtype` is "uint8",
            whose activations give the scales.
        method, num_classes, seed: of a .tflite file, as in `tflite_export.make_trainable`.
        name: what the functions and files are called; the model's name if None.
        verify: whether to compile the program for this machine and to hold inference and training steps against the
            numpy evaluator before anything is written.

    Returns:
        What trains and what it costs; ``str()`` of it is a table.

    Raises:
        FileNotFoundError: there is no folder `out_dir`, or no such .tflite file.
        ValueError: an option or a layer is not supported; the message names it. `BudgetTooSmall` names the least that
            would do.
        VerificationError: the program and the reference disagree. Nothing is written.
        RuntimeError: `verify` without a C compiler.
    """
    out_dir = pathlib.Path(out_dir)
    if not out_dir.is_dir():
        raise FileNotFoundError(f"there is no folder {out_dir} to write the program to")
    if input_dtype not in ("float32", "uint8"):
        raise ValueError(f"input_dtype must be 'float32' or 'uint8', got {input_dtype!r}")
    if activations not in ("float32", "int8"):
        raise ValueError(f"activations must be 'float32' or 'int8', got {activations!r}")
    if activations == "float32" and calibration is not None:
        raise ValueError("calibration is for activations='int8'; float32 activations have no scales")
    options = checked(
        ExportOptions(
            optimizer=optimizer, loss=loss, label_smoothing=label_smoothing, class_names=class_names,
            input_scale=input_scale, input_offset=input_offset, runtime="micro", train_from=train_from,
        )
    )  # fmt: skip
    budget = Budget(parse_bytes(ram_budget), parse_bytes(flash_budget))
    frontend = _frontend(model_or_tflite, options, method, num_classes, seed)
    pixels = (float(input_scale), float(input_offset)) if input_dtype == "uint8" else None
    shape = next(iter(frontend.canonical.inputs.values())).shape[1:]
    samples = calibration_of(calibration, shape, pixels) if activations == "int8" else None
    program = _program(frontend, options, budget, pixels, samples, identifier(name or frontend.name))
    if samples is not None and not int8_operators(program.forward):
        raise ValueError(
            "activations='int8': no two layers with frozen kernels hand a map on to each other, so nothing would be "
            "int8. Freeze kernels (method 'bias' or 'lite_residual+bias'), or leave the activations float32"
        )
    verification = verify_program(program, frontend.canonical, samples) if verify else None
    path = out_dir / f"{program.name}.c"
    write_program(program, out_dir)
    return MicroReport.of(program, path, budget, verification)


def _frontend(model_or_tflite, options: ExportOptions, method: str, num_classes: int | None, seed: int) -> Frontend:
    if isinstance(model_or_tflite, str | os.PathLike):
        from tflite_export.micro.tflite_frontend import tflite_frontend

        return tflite_frontend(pathlib.Path(model_or_tflite), options, method, num_classes, seed)
    from tflite_export.micro.keras_frontend import keras_frontend

    return keras_frontend(model_or_tflite, options)


def _program(
    frontend: Frontend, options: ExportOptions, budget: Budget, pixels, samples: Calibration | None, name: str
) -> MicroProgram:
    canonical = frontend.canonical
    if len(canonical.inputs) != 1 or len(canonical.outputs) != 1:
        raise ValueError(
            f"the generated program takes one input and gives one output, the model has {len(canonical.inputs)} and "
            f"{len(canonical.outputs)}; export(…, runtime='micro') takes several"
        )
    optimizer = optimizers.resolve(options.optimizer)
    loss = losses.resolve(options.loss, options.label_smoothing, *final_layer(canonical))
    if loss.name == "mean_squared_error" and final_layer(canonical)[0] != "linear":
        raise ValueError("of a model that ends in softmax or sigmoid the generated program has no mean_squared_error")
    layers = [(layer, list(names)) for layer, names in frontend.layers if names]
    if options.train_from is not None:
        frozen = frozen_before(frontend.layers, options.train_from)
        layers = [(layer, kept) for layer, names in layers if (kept := [n for n in names if n not in frozen])]

    @functools.cache
    def compiled(trained: frozenset[str]) -> MicroProgram:
        built = build(canonical, trained, loss, pixels, budget.arena(canonical, trained, optimizer), samples)
        variables = tuple(v for v in built.train.variables)
        of_keras = tuple(v for v in canonical.variables if v.name in trained)
        reading = canonical.replace(ops=tuple(op for op in canonical.ops if _kept(op, trained)))
        description = describe(reading, frontend.frozen_weights(set(trained)), loss, optimizer, options)
        _check_all_read(of_keras, variables)
        return MicroProgram(
            name, built.forward, built.train, built.infer, built.train_memory, built.infer_memory, variables,
            built.layouts, optimizer, description,
        )  # fmt: skip

    return choose(layers, frontend.branches, budget, lambda trained: compiled(frozenset(trained)))


def _kept(op, trained) -> bool:
    return op.kind != "READ_VARIABLE" or op.attributes["variable"].name in trained


def _check_all_read(of_model, variables) -> None:
    missing = {v.name for v in of_model} - {v.name for v in variables}
    if missing:
        raise ValueError(f"the program would not train {', '.join(sorted(missing))}: nothing reads it; freeze it")
