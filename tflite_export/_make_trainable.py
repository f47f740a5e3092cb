"""`make_trainable`: a .tflite that infers to one that also learns. The pipeline, top to bottom; no TensorFlow."""

from __future__ import annotations

import dataclasses
import operator
import pathlib
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_export._export import compile_forward, forward_graph, verified
from tflite_export.arena import plan
from tflite_export.atomic import write_atomically
from tflite_export.compiled_model import CompiledModel
from tflite_export.export_options import ExportOptions
from tflite_export.from_tflite.classifier import find_classifier, with_new_head
from tflite_export.from_tflite.inference_file import InferenceFile, read_inference_file
from tflite_export.from_tflite.lite_branches import find_branches, with_branches
from tflite_export.from_tflite.numpy_reference import NumpyReference
from tflite_export.from_tflite.rebatch import rebatched
from tflite_export.from_tflite.rounded_kernels import with_rounded_kernels
from tflite_export.from_tflite.trainables import (
    WITH_BRANCHES,
    check_method,
    constants_of,
    trained_layers,
    with_short_names,
    with_variables,
)
from tflite_export.from_tflite.trainables import frozen as with_constants
from tflite_export.from_tflite.verify_inference import verify_inference
from tflite_export.from_tflite.weights import layers_of
from tflite_export.graph import Graph
from tflite_export.passes.canonical import split_activations
from tflite_export.passes.dequantise import dequantise
from tflite_export.report import ExportReport
from tflite_export.stages import stages
from tflite_export.train_from import BUDGET, farthest_within_budget, frozen_before
from tflite_export.validation import check_destination, check_path, checked
from tflite_export.verify_micro import micro_wheel


def make_trainable(
    tflite_path: str | pathlib.Path,
    path: str | pathlib.Path,
    *,
    method: str = "bias",
    num_classes: int | None = None,
    seed: int = 0,
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
    frozen: str = "float32",
    verify: bool = True,
) -> ExportReport:
    """Writes, from a .tflite file that infers, one that learns: the same as `export` writes from a Keras model.

    The file may be float32, have float16 or int8 weights, or be quantised fully. A step computes in float32 on the
    numbers that the weights stand for, and x and the output are float32. Frozen kernels stay int8 or float16 in the
    written file, per channel too, which keeps it small; asymmetric uint8 ones, and all for TFLite Micro, become
    float32. In memory LiteRT holds a float32 copy of them while it runs. What trains is float32.

    Methods, beside the classifier, which is the dense layer, or 1x1 convolution on one point, before the output and a
    final softmax or sigmoid, or the 1x1 convolution whose average over the map is all that goes into these:

    - "last": nothing;
    - "bias": every bias of a convolution or dense layer, in which the converter has folded the normalisation's;
    - "lite_residual": a lite residual branch beside every residual block (`lite_branches`);
    - "lite_residual+bias": both;
    - "full": every kernel and bias.

    Variables are called after the scopes in which the file's kernels were made, "block_3_expand_1/bias" (`weights`),
    those of a new classifier "head/kernel" and "head/bias".

    Args:
        tflite_path: a .tflite file with one subgraph of builtin operators, one input [batch, …] and one output.
        path: where the new file goes. It appears whole or not at all.
        method: as above.
        num_classes: outputs of a new, linear classifier in place of the old one and all behind it, on the features that
            the old one reads: its kernel is drawn as Keras's ``glorot_uniform`` does, its bias is zeros. None: the
            file's own classifier stays and trains.
        seed: of what is drawn: the new classifier, and the branches' kernels.
        frozen: as in `export`: "int8" rounds frozen kernels, but those that are int8 in the file, and takes less memory
            too. With "float32" kernels are stored as above.
        verify: whether to hold, before writing, inference against the original file in LiteRT, and training steps in
            the runtime against the numpy evaluator (`numpy_reference`).

    The other arguments are those of `export`; a layer for train_from is a variable's name without "/kernel" or "/bias",
    or a branch's.

    Returns:
        What was written and measured; ``str()`` of it is a table. `quantization_difference` is how far a quantised
        file's own inference lies from the float one that trains.

    Raises:
        FileNotFoundError: there is no file at tflite_path, or no folder for `path`.
        ValueError: an option, or something in the file, is not supported; the message names the operator and tensor.
            Or `path` is tflite_path, which would be lost.
        BudgetTooSmall: memory_budget is; a ValueError that names the least that would do, its `needed`.
        VerificationError: the runtime and the reference disagree. Nothing is written.
        ImportError: `verify` for TFLite Micro without its Python wheel.
    """
    frozen = "int8" if kernels == "tinytl" else frozen
    options = ExportOptions(
        batch_size, micro_batch, infer_batch_size, optimizer, loss, label_smoothing, clip_norm,
        class_names, input_scale, input_offset, runtime, kernels, train_from, memory_budget, frozen=frozen,
    )  # fmt: skip
    check_path(path)
    check_destination(path, [tflite_path], "the file that infers")
    check_method(method)
    _check_num_classes(num_classes)
    if verify and runtime == "micro":
        micro_wheel()
    verification = difference = None
    with stages(["reading", "compiling", *(["verifying"] if verify else [])]) as begin:
        begin("reading")
        file = read_inference_file(tflite_path)
        plain = plain_graph(file)
        graph, branches = trainable_graph(plain, method, num_classes, seed)
        begin("compiling")
        compiled = compile_trainable(graph, branches, options)
        if frozen == "float32":
            compiled = dataclasses.replace(compiled, constants=_stored_dtype(file, runtime))
        content = compiled.to_bytes()
        if verify:
            begin("verifying")
            reference = NumpyReference(_forward(graph, compiled), compiled.description)
            written = {} if num_classes is not None or runtime == "micro" else _inference(content)
            difference = verify_inference(
                file, lambda rows: rebatched(plain, rows), reference.images, written,
                compiled.options.infer_batch_size, None if frozen == "float32" else _forward(graph, compiled),
            )  # fmt: skip
            verification = verified(content, compiled, reference)
    write_atomically(path, content)
    own_arena = plan(rebatched(file.graph, compiled.options.rows), runtime).total_bytes
    report = ExportReport.of(path, content, compiled, own_arena, verification)
    return dataclasses.replace(report, quantization_difference=difference)


def plain_graph(file: InferenceFile) -> Graph:
    """The file's forward pass in float32, with its head, every activation an operator, and no arithmetic on shapes."""
    return split_activations(rebatched(dequantise(file.graph), file.input.shape[0]))


def trainable_graph(plain: Graph, method: str, num_classes: int | None, seed: int) -> tuple[Graph, tuple[str, ...]]:
    """The forward pass that reads what `method` trains from variables, and the names of its branches.

    Raises:
        ValueError: there is no block for a branch, or nothing would train.
    """
    random = np.random.default_rng(seed)
    graph, branches = plain, []
    if method in WITH_BRANCHES:
        branches = find_branches(graph, layers_of(graph))
        graph = with_branches(graph, branches, trains_last_beta=method == "lite_residual", random=random)
    layers = layers_of(graph)
    classifier = find_classifier(graph, layers)
    if num_classes is not None:
        graph, classifier = with_new_head(graph, classifier, num_classes, random), None
        layers = layers_of(graph)
    graph = with_variables(graph, layers, method, classifier)
    if not graph.variables:
        raise ValueError(
            f"method={method!r} finds nothing to train: the output comes from no dense layer or 1x1 convolution on one "
            "point. Pass num_classes for a new classifier, or take method='bias'"
        )
    return with_short_names(graph), tuple(branch.name for branch in branches)


def compile_trainable(graph: Graph, branches: Sequence[str], options: ExportOptions) -> CompiledModel:
    """The program of a forward pass that reads variables.

    Args:
        graph: on any number of rows.
        branches: the names of its branches.
        options: those of `export`.

    Raises:
        ValueError: as `export` does.
    """
    options = checked(options)
    layers = trained_layers(graph, branches)
    if options.train_from == BUDGET:
        reached = lambda f: compile_trainable(graph, branches, dataclasses.replace(options, train_from=f))  # noqa: E731
        return farthest_within_budget(layers, reached)
    if options.train_from is not None:
        graph = with_constants(graph, frozen_before(layers, options.train_from))
    constants = constants_of(graph)
    graph = stored_as(graph, options.frozen)
    return compile_forward(lambda rows: rebatched(graph, rows), graph.variables, constants, options)


def stored_as(graph: Graph, frozen: str) -> Graph:
    """`graph` with the kernels that a file of `frozen` kernels, "float32" or "int8", stands for."""
    return with_rounded_kernels(graph) if frozen == "int8" else graph


def _forward(graph: Graph, compiled: CompiledModel):
    """The canonical forward pass of what was compiled, on so many rows."""
    trained = {variable.name for variable in compiled.trainables}
    graph = with_constants(graph, {variable.name for variable in graph.variables} - trained)
    graph = stored_as(graph, compiled.options.frozen)
    return lambda rows: forward_graph(rebatched(graph, rows), compiled.options)


def _inference(content: bytes) -> dict:
    """The written file's ``infer`` in LiteRT, by kernel set."""
    runners = {}
    for name, kernels in (
        ("the builtin kernels", OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES),
        ("XNNPACK", OpResolverType.AUTO),
    ):
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=kernels, num_threads=1)
        runner = interpreter.get_signature_runner("infer")
        runners[name] = lambda x, runner=runner: runner(x=x)["output"]
    return runners


def _stored_dtype(file: InferenceFile, runtime: str) -> str:
    """What frozen kernels are stored as: as in the file. TFLite Micro knows one scale a tensor only."""
    if runtime == "micro":
        return "float32"
    stored = {t.dtype for op in file.graph.ops for t in op.inputs if t is not None and t.is_constant}
    return next((dtype for dtype in ("int8", "float16") if dtype in stored), "float32")


def _check_num_classes(num_classes) -> None:
    if num_classes is None:
        return
    if isinstance(num_classes, bool) or not hasattr(num_classes, "__index__") or operator.index(num_classes) < 1:
        raise ValueError(f"num_classes must be None or a whole number from 1, got {num_classes!r}")
