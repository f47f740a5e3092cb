"""What a file says about itself: the JSON in its metadata, the same that its `info` signature returns."""

from __future__ import annotations

import json

METADATA_NAME = "tinytl"
FORMAT_VERSION = 1

_FIELDS = {
    "format_version": int,
    "classes": int,
    "class_names": (list, type(None)),
    "input_scale": (int, float),
    "input_offset": (int, float),
    "input_shape": list,
    "batch_size": int,
    "infer_batch_size": int,
    "loss": str,
    "label_smoothing": (int, float),
    "output_activation": str,
    "optimizer": dict,
    "trainables": list,
    "fingerprint": str,
}


def parse_info(content: bytes) -> dict:
    """The info as a dict.

    Keys: format_version, classes (outputs of the head), class_names (list or None; shorter than `classes` where the
    head has spare outputs), input_scale, input_offset (for integer images), input_shape (without the batch),
    batch_size, infer_batch_size, loss, label_smoothing, output_activation ("linear", "softmax" or "sigmoid"),
    optimizer, trainables (name, shape and dtype of each) and fingerprint.

    Raises:
        ValueError: If it is not JSON, or not of a version or form that this runtime understands.
    """
    try:
        info = json.loads(content)
    except ValueError as error:
        raise ValueError(f"the model's info is not JSON: {error}") from error
    version = info.get("format_version") if isinstance(info, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"the model's info has format version {version!r}, and this runtime reads version {FORMAT_VERSION}. "
            f"Install the tinytl-keras that exported it, or export it again."
        )
    for name, kind in _FIELDS.items():
        if name not in info:
            raise ValueError(f"the model's info lacks {name!r}; it has {sorted(info)}")
        if not isinstance(info[name], kind) or isinstance(info[name], bool):
            raise ValueError(f"the model's info has an unusable {name!r}: {info[name]!r}")
    if info["loss"] != "sparse_categorical_crossentropy":
        raise ValueError(
            f"the model was exported with loss {info['loss']!r}; OnDeviceModel trains 'sparse_categorical_crossentropy'"
        )
    if info["class_names"] is not None and len(info["class_names"]) > info["classes"]:
        raise ValueError(f"the model's info names {len(info['class_names'])} classes for {info['classes']} outputs")
    return info
