"""Computes once what is written twice."""

from __future__ import annotations

from tflite_export.graph import Graph, Op, Tensor, substitute

_IRRELEVANT = frozenset({"pot_scale_int16"})  # to float32


def merge_common_subexpressions(graph: Graph) -> Graph:
    """`graph` without operators that do the same to the same tensors as one before them.

    Reads and assignments of variables stay: what a read returns depends on where it stands.
    """
    replacement: dict[Tensor, Tensor] = {}
    first: dict[object, Op] = {}
    kept = []
    for op in graph.ops:
        (op,) = substitute((op,), replacement)
        key = _key(op)
        if key in first:
            replacement.update(zip(op.outputs, first[key].outputs))
            continue
        if key is not None:
            first[key] = op
        kept.append(op)
    outputs = {name: replacement.get(tensor, tensor) for name, tensor in graph.outputs.items()}
    return graph.replace(ops=tuple(kept), outputs=outputs)


def _key(op: Op) -> object:
    if "variable" in op.attributes or op.kind == "IF":
        return None
    attributes = {name: value for name, value in op.attributes.items() if name not in _IRRELEVANT and value != "NONE"}
    written = tuple((tensor.shape, tensor.dtype, tensor.quantization) for tensor in op.outputs)
    return op.kind, tuple(map(_identity, op.inputs)), tuple(sorted(attributes.items())), written


def _identity(tensor: Tensor | None) -> object:
    """Small constants of equal content are equal."""
    if tensor is None or not tensor.is_constant or tensor.nbytes > 64:
        return tensor
    return tensor.dtype, tensor.shape, tensor.quantization, tensor.data.tobytes()
