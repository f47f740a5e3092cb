"""What a phone needs to know about the file travels in the file: the JSON of the ``info`` signature."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Tensor, Variable
from tflite_export.losses import MeanSquaredError, OutputLoss, main_output
from tflite_export.runtime.info import Description, DescriptionOfSeveral
from tflite_export.step_loss import labels_name, outputs_and_logits, peel_activation
from tflite_export.training import NO_PENALTIES

_OF_AN_OUTPUT = ("classes", "outputs", "loss", "label_smoothing", "output_activation")


def describe(
    forward: Graph,
    frozen: Iterable[tuple[str, np.ndarray]],
    loss,
    optimizer,
    options: ExportOptions,
    penalties: Mapping[str, float] = NO_PENALTIES,
) -> Description:
    """Describes the file of a canonical `forward` graph.

    Args:
        forward: the graph.
        frozen: name and value of every frozen weight; they make the fingerprint, with the trainable weights' names
            and shapes.
        loss: that of the only output, or an `OutputLoss` for each output that trains.
        optimizer: `SGD` or `Adam`.
        options: in final form.
        penalties: the l2 of every variable that has one.

    Raises:
        ValueError: more class names than outputs, or one name twice; a scale for an input that there is not.
    """
    trained = {one.output: one for one in loss} if isinstance(loss, tuple) else {}
    main = main_output(loss).output if trained else next(iter(forward.outputs))
    heads = [_head(forward, name, trained.get(name, OutputLoss(name, loss))) for name in forward.outputs]
    if trained:
        heads = [head if head["name"] in trained else {**head, "loss": None, "label_smoothing": 0.0} for head in heads]
    first = next(head for head in heads if head["name"] == main)
    inputs = [_input(name, x, options) for name, x in forward.inputs.items()]
    _check_inputs_named(forward, options)
    variables = forward.variables
    fields = {
        **{name: first[name] for name in _OF_AN_OUTPUT},
        "class_names": _class_names(options.class_names, first["classes"]),
        "input_scale": inputs[0]["scale"],
        "input_offset": inputs[0]["offset"],
        "input_shape": inputs[0]["shape"],
        "batch_size": options.batch_size,
        "infer_batch_size": options.infer_batch_size,
        "optimizer": {"name": optimizer.name, **dataclasses.asdict(optimizer)},
        "trainables": [{"name": v.name, "shape": v.shape, "dtype": v.dtype} for v in variables],
        "fingerprint": fingerprint(frozen, variables),
        "micro_batch": options.micro_batch,
        "activation_gradients": options.activation_gradients,
        "kernels": options.form,
        "clip_norm": None if options.clip_norm is None else float(options.clip_norm),
    }
    if len(heads) == len(inputs) == 1 and inputs[0]["dtype"] == "float32" and not (penalties or _has_places(heads[0])):
        return Description(**fields)
    return DescriptionOfSeveral(**fields, inputs=inputs, heads=heads, l2=dict(penalties))


def _head(forward: Graph, name: str, one: OutputLoss) -> dict:
    logits, activation = peel_activation(forward, name)
    named = outputs_and_logits(forward)
    logits_name = "logits" if len(forward.outputs) == 1 else f"{name}_logits"
    return {
        "name": name,
        "shape": forward.outputs[name].shape[1:],
        "labels": labels_name(forward, name),
        "logits": logits_name if logits_name in named else name,
        "loss": getattr(one.loss, "name", None),
        "loss_weight": one.weight,
        "label_smoothing": getattr(one.loss, "label_smoothing", 0.0),
        "output_activation": activation,
        "classes": logits.shape[-1] if logits.shape[1:] else 1,
        "outputs": logits.size // logits.shape[0],
    }


def _has_places(head: dict) -> bool:
    """Whether its labels are those of every place, which the first version of the description does not know."""
    return len(head["shape"]) > 1 and head["loss"] != MeanSquaredError.name


def _input(name: str, x: Tensor, options: ExportOptions) -> dict:
    scales = {"scale": (options.input_scale, 1.0), "offset": (options.input_offset, 0.0)}
    values = {
        key: float(given.get(name, none) if isinstance(given, Mapping) else given if x.dtype == "float32" else none)
        for key, (given, none) in scales.items()
    }
    return {"name": name, "shape": x.shape[1:], "dtype": x.dtype, **values}


def _check_inputs_named(forward: Graph, options: ExportOptions) -> None:
    scalable = [name for name, x in forward.inputs.items() if x.dtype == "float32"]
    for option in ("input_scale", "input_offset"):
        given = getattr(options, option)
        unknown = sorted(set(given).difference(scalable)) if isinstance(given, Mapping) else []
        if unknown:
            raise ValueError(
                f"{option}: there is no float32 input {', '.join(map(repr, unknown))}; the model has "
                f"{', '.join(map(repr, scalable)) or 'none'}"
            )


def _class_names(names: Sequence[str] | None, classes: int) -> list[str] | None:
    if names is None:
        return None
    names = [str(name) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if len(names) > classes or twice:
        problem = f"{', '.join(map(repr, twice))} twice" if twice else f"{len(names)} names"
        raise ValueError(f"class_names: got {problem} for a model with {classes} outputs")
    return names


def fingerprint(frozen: Iterable[tuple[str, np.ndarray]], variables: Iterable[Variable]) -> str:
    """Tells two models apart whose trainable weights fit each other: a state belongs to one of them only."""
    digest = hashlib.sha256()
    for name, value in frozen:
        digest.update(f"{name}{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
    for variable in variables:
        digest.update(f"{variable.name}{variable.shape}".encode())
    return digest.hexdigest()[:32]
