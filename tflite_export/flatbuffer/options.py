"""Builtin options of the schema <-> attributes of an `Op`: snake case for camel case, enum names for numbers."""

from __future__ import annotations

import re

import numpy as np
from ai_edge_litert import schema_py_generated as schema

OFFSETS = "OfflineMemoryAllocation"  # the metadata in which TFLite Micro finds offsets of tensors in its arena


def enum_names(enum) -> dict[int, str]:
    """Number -> name of a schema enum."""
    return {value: name for name, value in vars(enum).items() if not name.startswith("_")}


_ENUM_ATTRIBUTES = {
    "padding": enum_names(schema.Padding),
    "fused_activation_function": enum_names(schema.ActivationFunctionType),
    "mode": enum_names(schema.MirrorPadMode),
}
_TABLES = {name.lower(): name for name in enum_names(schema.BuiltinOptions).values()}
_IRREGULAR = {
    **dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL"), "Reducer"),
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"), "Pool2D"),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimum"),
    **dict.fromkeys(("RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"), "Random"),
    "L2_NORMALIZATION": "L2Norm",
    "CONV_3D_TRANSPOSE": "Conv3D",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNN",
}


def table_name(kind: str) -> str | None:
    """The schema's options table of an operator, None where it has none."""
    return _TABLES.get(f"{_IRREGULAR.get(kind, kind.replace('_', ''))}Options".lower())


def defaults(table: str) -> dict[str, object]:
    """The fields of an options table, with the values that the schema gives them."""
    return vars(getattr(schema, table + "T")())


def pack(kind: str, attributes: dict[str, object]):
    """(options type, options table) for an operator; (0, None) where the schema has no table for its kind.

    Raises:
        ValueError: an attribute that the schema does not know.
    """
    name = table_name(kind)
    if name is None:
        if attributes:
            raise ValueError(f"{kind} has no options in the schema, got {sorted(attributes)}")
        return 0, None
    table = getattr(schema, name + "T")()
    for attribute, value in attributes.items():
        field = re.sub(r"_(\w)", lambda match: match.group(1).upper(), attribute)
        if not hasattr(table, field):
            raise ValueError(f"{kind} has no option {attribute!r} in the schema")
        if isinstance(value, str) and attribute in _ENUM_ATTRIBUTES:
            value = {text: number for number, text in _ENUM_ATTRIBUTES[attribute].items()}[value]
        setattr(table, field, value)
    return getattr(schema.BuiltinOptions, name), table


def unpack(table) -> dict[str, object]:
    """The attributes in an options table, which may be None.

    Raises:
        ValueError: a number that the schema has no name for.
    """
    attributes = {}
    for field, value in vars(table).items() if table is not None else ():
        name = re.sub(r"([A-Z])", lambda match: "_" + match.group(1).lower(), field)
        if name in _ENUM_ATTRIBUTES:
            if value not in _ENUM_ATTRIBUTES[name]:
                known = ", ".join(map(str, _ENUM_ATTRIBUTES[name].values()))
                raise ValueError(f"the option {name} is {value}, which stands for none of {known}")
            value = _ENUM_ATTRIBUTES[name][value]
        if isinstance(value, np.ndarray):
            value = tuple(int(v) for v in value)
        if value is not None:
            attributes[name] = value
    return attributes
