"""What a file says about itself: the JSON in its metadata, the same that its `info` signature returns."""

from __future__ import annotations

import dataclasses
import json

from tflite_export.runtime.losses import LOSSES

METADATA_NAME = "tinytl"
MERGED_METADATA_NAME = "tinytl_inference"  # of a file that `merge` wrote: class names, how pixels become x
FORMAT_VERSION = 1
KERNELS = ("xnnpack", "builtin", "micro", "tinytl")


@dataclasses.dataclass(frozen=True)
class Description:
    """The fields of the JSON, in order. The exporter writes them and `parse_info` reads them."""

    classes: int  # size of the output's last axis
    outputs: int  # values in the output of one sample
    class_names: list | None  # shorter than `classes` where the head has spare outputs
    input_scale: float  # of integer images: x * input_scale + input_offset
    input_offset: float
    input_shape: list  # without the batch
    batch_size: int
    infer_batch_size: int
    loss: str
    label_smoothing: float
    output_activation: str  # "linear", "softmax" or "sigmoid"
    optimizer: dict
    trainables: list  # name, shape and dtype of each
    fingerprint: str
    micro_batch: int | None = (
        None  # rows of `accumulate`, of which batch_size is a multiple; None: the file has `train`
    )
    clip_norm: float | None = None  # of the gradient of all trainables together
    activation_gradients: str = "exact"  # or "one_bit": those of hard-swish and swish are approximated
    kernels: str = "xnnpack"  # those that the file is shaped for, one of KERNELS
    format_version: int = FORMAT_VERSION

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, separators=(",", ":")).encode()


@dataclasses.dataclass(frozen=True)
class DescriptionOfSeveral(Description):
    """Of a file with several inputs or outputs, an integer input, or penalties. Its `Description` is that of the first
    input, and of the output that class names belong to.

    `inputs` holds for every input ``name``, ``shape`` without the batch, ``dtype``, ``scale`` and ``offset``; `heads`
    for every output ``name``, ``shape``, ``labels`` and ``logits`` (their names in the signatures), ``loss`` (None: it
    only infers), ``loss_weight``, and what `Description` says of an output.
    """

    inputs: list = dataclasses.field(default_factory=list)
    heads: list = dataclasses.field(default_factory=list)
    l2: dict = dataclasses.field(default_factory=dict)  # of every trainable with a penalty l2 * sum(weight ** 2)
    format_version: int = 2


def describes_several(info: dict) -> bool:
    """Whether these are the fields of `DescriptionOfSeveral`."""
    return "heads" in info


def inputs_of(info: dict) -> list[dict]:
    """What is said of every input, of either kind of file."""
    if describes_several(info):
        return info["inputs"]
    scale, offset = info["input_scale"], info["input_offset"]
    return [{"name": "x", "shape": info["input_shape"], "dtype": "float32", "scale": scale, "offset": offset}]


def heads_of(info: dict) -> list[dict]:
    """What is said of every output, of either kind of file. Only `DescriptionOfSeveral` knows its ``shape``."""
    if describes_several(info):
        return info["heads"]
    same = {name: info[name] for name in ("classes", "outputs", "loss", "label_smoothing", "output_activation")}
    return [{"name": "output", "labels": "y", "logits": "logits", "loss_weight": 1.0, **same}]


_KINDS = {  # what JSON makes of a field, by its annotation
    "int": int,
    "float": (int, float),
    "int | None": (int, type(None)),
    "float | None": (int, float, type(None)),
    "str": str,
    "list": list,
    "dict": dict,
    "list | None": (list, type(None)),
}


def parse_info(content: bytes) -> dict:
    """The info as a dict, with the fields of `Description`, or of `DescriptionOfSeveral`, as keys.

    Raises:
        ValueError: If it is not JSON, or not of a version or form that this runtime understands.
    """
    try:
        info = json.loads(content)
    except ValueError as error:
        raise ValueError(f"the model's info is not JSON: {error}") from error
    version = info.get("format_version") if isinstance(info, dict) else None
    kind = DescriptionOfSeveral if isinstance(info, dict) and describes_several(info) else Description
    if version != kind.format_version:
        raise ValueError(
            f"the model's info has format version {version!r}, and this runtime reads version {kind.format_version}. "
            f"Install the tinytl-keras that exported it, or export it again."
        )
    for field in dataclasses.fields(kind):
        if field.name not in info and field.default is not dataclasses.MISSING:
            info[field.name] = field.default
        if field.name not in info:
            raise ValueError(f"the model's info lacks {field.name!r}; it has {sorted(info)}")
        value = info[field.name]
        if not isinstance(value, _KINDS[field.type]) or isinstance(value, bool):
            raise ValueError(f"the model's info has an unusable {field.name!r}: {value!r}")
    for loss in (head["loss"] for head in heads_of(info)):
        if loss is not None and loss not in LOSSES:
            raise ValueError(f"the model was exported with loss {loss!r}; this runtime knows {', '.join(LOSSES)}")
    if info["kernels"] not in KERNELS:
        raise ValueError(f"the model was exported for {info['kernels']!r}; this runtime knows {', '.join(KERNELS)}")
    if info["class_names"] is not None and len(info["class_names"]) > info["classes"]:
        raise ValueError(f"the model's info names {len(info['class_names'])} classes for {info['classes']} outputs")
    return info
