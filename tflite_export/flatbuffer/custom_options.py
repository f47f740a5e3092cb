"""Options of custom operators (`graph.CUSTOM`) as the bytes that micro/tflm/options.h reads, and back.

4-byte little-endian words: the version, then a window and an optimiser where the operator has them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

VERSION = 1
_WINDOW = struct.Struct("<6i")
_OPTIMIZER = struct.Struct("<2i5f")
_WINDOW_FIELDS = ("stride_h", "stride_w", "pad_top", "pad_left", "groups")
_NUMBERS = ("momentum", "beta_1", "beta_2", "epsilon", "weight_decay")
_ACTIVATIONS = ("NONE", "RELU", "RELU6")
_OPTIMIZERS = ("SGD", "MOMENTUM", "ADAM")


def has_window(kind: str) -> bool:
    return "CONV_2D" in kind


def has_optimizer(kind: str) -> bool:
    return kind.endswith("UPDATE")


def pack(kind: str, attributes: Mapping[str, object]) -> bytes:
    """The custom options of an operator of `kind`; attributes that it has no words for are left out."""
    parts = [struct.pack("<i", VERSION)]
    if has_window(kind):
        activation = _ACTIVATIONS.index(attributes["activation"])
        parts.append(_WINDOW.pack(*(attributes[name] for name in _WINDOW_FIELDS), activation))
    if has_optimizer(kind):
        kinds = _OPTIMIZERS.index(attributes["optimizer"]), int(attributes["nesterov"])
        parts.append(_OPTIMIZER.pack(*kinds, *(attributes[name] for name in _NUMBERS)))
    return b"".join(parts)


def unpack(kind: str, content: bytes) -> dict[str, object]:
    """The attributes of an operator of `kind`.

    Raises:
        ValueError: other bytes than the operator's, or a number that stands for nothing.
    """
    size = 4 + has_window(kind) * _WINDOW.size + has_optimizer(kind) * _OPTIMIZER.size
    if len(content) != size:
        raise ValueError(f"{kind} has {len(content)} bytes of custom options, {size} are expected")
    (version,) = struct.unpack_from("<i", content)
    if version != VERSION:
        raise ValueError(f"{kind} has version {version} of the custom options, {VERSION} is expected")
    attributes: dict[str, object] = {}
    if has_window(kind):
        *numbers, activation = _WINDOW.unpack_from(content, 4)
        attributes.update(zip(_WINDOW_FIELDS, numbers, strict=True))
        attributes["activation"] = _name(kind, "activation", activation, _ACTIVATIONS)
    if has_optimizer(kind):
        optimizer, nesterov, *numbers = _OPTIMIZER.unpack_from(content, size - _OPTIMIZER.size)
        attributes["optimizer"] = _name(kind, "optimiser", optimizer, _OPTIMIZERS)
        attributes["nesterov"] = bool(nesterov)
        attributes.update(zip(_NUMBERS, numbers, strict=True))
    return attributes


def _name(kind: str, what: str, number: int, names: tuple[str, ...]) -> str:
    if not 0 <= number < len(names):
        raise ValueError(f"{kind} has the {what} {number}, which stands for none of {', '.join(names)}")
    return names[number]
