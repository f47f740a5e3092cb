"""Refusals before any work is done."""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import os
import pathlib
from collections.abc import Mapping

from tflite_export.export_options import ExportOptions
from tflite_export.int8_weights import FROZEN
from tflite_export.lowering import input_names, output_names
from tflite_export.memory_budget import parse_bytes
from tflite_export.train_from import BUDGET

RUNTIMES = ("litert", "micro")
KERNELS = {"litert": ("xnnpack", "builtin"), "micro": ("builtin", "tinytl")}
INPUT_DTYPES = ("float32", "int32", "int64", "uint8", "int8")
ACTIVATION_GRADIENTS = ("exact", "one_bit")


def check_path(path) -> None:
    """Raises TypeError for what is no path, FileNotFoundError without a folder to be in, IsADirectoryError for one."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"export(model, path, …): path must be a str or a Path, got {type(path).__name__}")
    folder = pathlib.Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it, such as model.tflite")


def check_destination(path, sources, what: str) -> None:
    """Raises ValueError if writing `path` would overwrite one of the files `sources`, `what` the user would lose."""
    for source in sources:
        if os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise ValueError(f"{path} would be overwritten, and with it {what}. Name another file.")


def checked(options: ExportOptions) -> ExportOptions:
    """`options` in final form: sizes as int, micro_batch set where gradients accumulate.

    Raises:
        ValueError: an option outside its range, or what the runtime does not have.
    """
    _check_names_and_scale(options.class_names, options.input_scale, options.input_offset)
    options = _with_sizes(options)
    _check_clip_norm(options.clip_norm)
    _check_runtime(options)
    if options.train_from == BUDGET and options.memory_budget is None:
        raise ValueError("train_from='budget' reaches back as far as memory_budget allows; give one, such as '8MB'")
    parse_bytes(options.memory_budget)
    return dataclasses.replace(options, frozen="int8") if options.form == "tinytl" else options


def _check_names_and_scale(class_names, input_scale, input_offset) -> None:
    if class_names is not None and (isinstance(class_names, str) or len(class_names) == 0):
        raise ValueError(f"class_names must be a list of one or more names, got {class_names!r}")
    scales = input_scale.values() if isinstance(input_scale, Mapping) else [input_scale]
    offsets = input_offset.values() if isinstance(input_offset, Mapping) else [input_offset]
    if not (all(map(math.isfinite, (*scales, *offsets))) and all(scales)):
        raise ValueError(
            f"input_scale and input_offset must be finite, the scale not 0, got {input_scale!r} and {input_offset!r}"
        )


def _with_sizes(options: ExportOptions) -> ExportOptions:
    sizes = {name: _size(name, getattr(options, name)) for name in ("batch_size", "infer_batch_size")}
    if options.accumulates:
        batch_size = sizes["batch_size"]
        micro_batch = batch_size if options.micro_batch is None else _size("micro_batch", options.micro_batch)
        if batch_size % micro_batch:
            raise ValueError(
                f"batch_size must be a multiple of micro_batch, got batch_size={batch_size} and "
                f"micro_batch={micro_batch}: a full step is a whole number of micro-batches"
            )
        sizes["micro_batch"] = micro_batch
    return dataclasses.replace(options, **sizes)


def _size(name: str, value) -> int:
    """A whole number from 1, of any integer type."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ValueError(f"{name} must be a whole number from 1, got {value!r}")
    return operator.index(value)


def _check_clip_norm(clip_norm) -> None:
    if clip_norm is None:
        return
    if isinstance(clip_norm, bool) or not isinstance(clip_norm, numbers.Real) or not 0 < clip_norm < math.inf:
        raise ValueError(f"clip_norm must be a positive, finite number or None, got {clip_norm!r}")


def _check_runtime(options: ExportOptions) -> None:
    given = {
        "runtime": RUNTIMES,
        "activation_gradients": ACTIVATION_GRADIENTS,
        "frozen": FROZEN,
    }
    for name, known in given.items():
        if getattr(options, name) not in known:
            names = ", ".join(repr(k) for k in known if k)
            raise ValueError(f"{name} must be one of {names}, got {getattr(options, name)!r}")
    known = KERNELS[options.runtime]
    if options.kernels not in (*known, None):
        others = [name for name, sets in KERNELS.items() if options.kernels in sets]
        hint = f", or export with runtime={others[0]!r}" if others else ""
        raise ValueError(
            f"kernels must be one of {', '.join(map(repr, known))} with runtime={options.runtime!r}, got "
            f"{options.kernels!r}{hint}"
        )
    if options.runtime == "litert":
        return
    if options.accumulates:
        raise ValueError(
            "the one entry of runtime='micro' takes whole steps; leave micro_batch and clip_norm out, or export with "
            "runtime='litert'"
        )
    if options.infer_batch_size != options.batch_size:
        raise ValueError(
            f"the one entry of runtime='micro' infers on as many rows as it trains on; got "
            f"batch_size={options.batch_size} and infer_batch_size={options.infer_batch_size}: pass "
            f"infer_batch_size={options.batch_size}"
        )


def check_model(model, runtime: str = "litert") -> None:
    """Raises TypeError for what is not a Keras 3 model, ValueError for a model that cannot be exported to `runtime`."""
    import keras

    if not isinstance(model, keras.Model):
        if type(model).__module__.startswith("tf_keras"):
            raise TypeError(
                "this is a tf_keras (Keras 2) model; save it with model.save('model.keras') or model.save('model.h5') "
                "and load it with keras.models.load_model (Keras 3)"
            )
        raise TypeError(f"export takes a keras.Model, got {type(model).__name__}")
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"the TFLite converter needs Keras's TensorFlow backend, got {keras.backend.backend()!r}; "
            "set KERAS_BACKEND=tensorflow before importing keras"
        )
    _check_graph(model)
    if not model.trainable_variables:
        raise ValueError(
            f"model {model.name!r} has no trainable weights; convert it first: tinytl_keras.convert(model, 'bias')"
        )
    for tensor in model.inputs:
        if any(n is None for n in tensor.shape[1:]):
            raise ValueError(
                f"the input {_name(model, tensor)}of model {model.name!r} has the shape {tuple(tensor.shape)}; TFLite "
                "plans its memory ahead, so build the model with a fixed size, e.g. Input((224, 224, 3))"
            )
    _check_names(model)
    _check_dtypes(model)
    integers = [tensor for tensor in model.inputs if str(tensor.dtype) != "float32"]
    if runtime == "micro" and integers:
        raise ValueError(
            f"the input {_name(model, integers[0])}of model {model.name!r} is {integers[0].dtype}, and TFLM has "
            "no kernels that convert such an input or look up what it says. Build the model with a float32 Input (an "
            "embedding stays outside), or export with runtime='litert'"
        )
    for variable in model.trainable_variables:
        if getattr(variable, "constraint", None) is not None:
            raise ValueError(
                f"the trainable weight {variable.path!r} has a constraint, which the exported step would not apply; "
                "build the layer without it, or freeze the weight"
            )
    for layer in model._flatten_layers():
        if getattr(layer, "activity_regularizer", None) is not None:
            raise ValueError(
                f"layer {layer.name!r} has an activity_regularizer, which the exported step would not apply; build the "
                "layer without it"
            )


def _check_graph(model) -> None:
    if not model.built:
        raise ValueError(f"model {model.name!r} is not built; call it on a batch or give it an Input first")
    if not getattr(model, "inputs", None):
        shape = getattr(model, "_build_shapes_dict", None) or {}
        (shape,) = shape.values() if len(shape) == 1 else ((None, "…"),)
        inner = ", ".join(map(str, shape[1:])) if isinstance(shape, tuple | list) else "…"
        raise ValueError(
            f"model {model.name!r} ({type(model).__name__}) defines its own call, and does not say what its inputs and "
            f"outputs are. Wrap it, which keeps its weights: x = keras.Input(({inner},)); "
            "model = keras.Model(x, model(x))"
        )


def _check_names(model) -> None:
    """Raises ValueError where two inputs, or two outputs, of a signature of several would have one name."""
    inputs, outputs = input_names(model), output_names(model)
    labels = ["y"] if len(outputs) == 1 else [f"y_{name}" for name in outputs]
    logits = ["logits"] if len(outputs) == 1 else [f"{name}_logits" for name in outputs]
    taken = {
        "inputs": (inputs, [*labels, "learning_rate", "mode"]),
        "outputs": (outputs, [*logits, "loss", "correct", *(["losses"] if len(outputs) > 1 else [])]),
    }
    for role, (names, others) in taken.items():
        clashing = sorted(set(names).intersection(others))
        if clashing:
            raise ValueError(
                f"the {role} of model {model.name!r} are called {', '.join(map(repr, names))}, but "
                f"{', '.join(map(repr, clashing))} is a name of the exported signatures; give it another name"
            )


def _name(model, tensor) -> str:
    return "" if len(model.inputs) == 1 else f"{tensor.name!r} "


def _check_dtypes(model) -> None:
    policies = {layer.dtype_policy.compute_dtype: layer.name for layer in model._flatten_layers()}
    others = {dtype: name for dtype, name in policies.items() if "float" in dtype and dtype != "float32"}
    if others:
        dtype, layer = others.popitem()
        raise ValueError(
            f"layer {layer!r} computes in {dtype}; export takes float32 models: build the model again under "
            "keras.config.set_dtype_policy('float32') and copy the weights with set_weights"
        )
    for tensor in model.inputs:
        if str(tensor.dtype) not in INPUT_DTYPES:
            raise ValueError(
                f"the input {_name(model, tensor)}of model {model.name!r} is {tensor.dtype}; export takes inputs of "
                f"{', '.join(INPUT_DTYPES)}. Build it with one of those; input_scale and input_offset tell the device "
                "how pixels become a float32 input"
            )
    wrong = sorted({str(v.dtype) for v in model.trainable_variables} - {"float32"})
    if wrong:
        raise ValueError(f"trainable weights must be float32, got {', '.join(wrong)}")
