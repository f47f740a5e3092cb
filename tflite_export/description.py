"""What a phone needs to know about the file travels in the file: the JSON of the ``info`` signature."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable

import numpy as np

from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Variable
from tflite_export.runtime.info import Description
from tflite_export.training import peel_activation


def describe(
    forward: Graph, frozen: Iterable[tuple[str, np.ndarray]], loss, optimizer, options: ExportOptions
) -> Description:
    """Describes the file of a canonical `forward` graph.

    Args:
        frozen: name and value of every frozen weight; they make the fingerprint, with the trainable weights' names
            and shapes.
        options: in final form.

    Raises:
        ValueError: more class names than outputs, or one name twice.
    """
    logits, activation = peel_activation(forward)
    classes, class_names = logits.shape[-1], options.class_names
    if class_names is not None:
        class_names = [str(name) for name in class_names]
        twice = sorted({name for name in class_names if class_names.count(name) > 1})
        if len(class_names) > classes or twice:
            problem = f"{', '.join(map(repr, twice))} twice" if twice else f"{len(class_names)} names"
            raise ValueError(f"class_names: got {problem} for a model with {classes} outputs")
    variables = forward.variables
    (x,) = forward.inputs.values()
    return Description(
        classes=classes,
        outputs=logits.size // logits.shape[0],
        class_names=class_names,
        input_scale=float(options.input_scale),
        input_offset=float(options.input_offset),
        input_shape=x.shape[1:],
        batch_size=options.batch_size,
        infer_batch_size=options.infer_batch_size,
        loss=loss.name,
        label_smoothing=loss.label_smoothing,
        output_activation=activation,
        optimizer={"name": optimizer.name, **dataclasses.asdict(optimizer)},
        trainables=[{"name": v.name, "shape": v.shape, "dtype": v.dtype} for v in variables],
        fingerprint=fingerprint(frozen, variables),
        micro_batch=options.micro_batch,
        activation_gradients=options.activation_gradients,
        clip_norm=None if options.clip_norm is None else float(options.clip_norm),
    )


def fingerprint(frozen: Iterable[tuple[str, np.ndarray]], variables: Iterable[Variable]) -> str:
    """Tells two models apart whose trainable weights fit each other: a state belongs to one of them only."""
    digest = hashlib.sha256()
    for name, value in frozen:
        digest.update(f"{name}{value.shape}{value.dtype}".encode() + np.ascontiguousarray(value).tobytes())
    for variable in variables:
        digest.update(f"{variable.name}{variable.shape}".encode())
    return digest.hexdigest()[:32]
