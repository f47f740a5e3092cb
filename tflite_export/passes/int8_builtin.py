"""int8 kernels for LiteRT's builtin kernels and for TFLite Micro: CAST where they are used.

CAST, unlike DEQUANTIZE, runs every time on a constant too (cast.cc), so its output lies in the arena like any other;
and both runtimes' convolutions take a kernel that is not constant. The arena has the whole kernel in float32 then, so
one that is larger than the maps of its convolution is brought back in parts of its output channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.int8_kernels import MOVES, READERS, Int8, int8_kernel
from tflite_export.passes.rewrite import rewrite


def cast_where_used(graph: Graph, at_once: int) -> Graph:
    """`graph`, of builtin operators, with int8 constants for kernels.

    Args:
        at_once: bytes of a float32 kernel that may be in the arena, however small the maps are.
    """
    graph = rewrite(graph, {"CONV_2D": lambda b, op: _in_parts(b, op, at_once)})
    b, kernels = Builder(), {}  # kernels: what moves made of them
    for op in graph.ops:
        candidates = op.inputs if op.kind in (*READERS, *MOVES) else ()
        found = {
            t: kernels.get(t) or int8_kernel(t) for t in dict.fromkeys(op.inputs) if t in kernels or t in candidates
        }
        found = {t: kernel for t, kernel in found.items() if kernel is not None}
        with b.at(op.origin):
            if op.kind in MOVES and op.inputs[0] in found:
                kernels[op.outputs[0]] = found[op.inputs[0]].moved(b, op)
                continue
            real = {t: _real(b, kernel) for t, kernel in found.items()}
            b.copy(dataclasses.replace(op, inputs=tuple(real.get(t, t) for t in op.inputs)) if real else op)
    return remove_dead_code(graph.replace(ops=tuple(b.ops)))


def _real(b: Builder, kernel: Int8) -> Tensor:
    return kernel.scaled(b, b.cast(kernel.values, "float32"))


def _in_parts(b: Builder, op: Op, at_once: int) -> Tensor | None:
    x, kernel, bias = op.inputs
    out, y = kernel.shape[0], op.outputs[0]
    most = max(1, out * max(at_once, x.nbytes + y.nbytes) // kernel.nbytes)  # channels at once
    if most >= out or kernel.shape[3] != x.shape[3] or int8_kernel(kernel) is None:
        return None
    size, parts = math.ceil(out / math.ceil(out / most)), []
    begins = range(0, out, size)
    for begin, part_bias in zip(begins, _vector_parts(b, bias, begins), strict=True):
        channels = min(size, out - begin)
        part = b.slice(kernel, (begin, 0, 0, 0), (channels, *kernel.shape[1:]))
        parts.append(b.op("CONV_2D", (x, part, part_bias), (*y.shape[:3], channels), **op.attributes))
    return b.concatenate(parts, 3)


def _vector_parts(b: Builder, vector: Tensor | None, begins: Sequence[int]) -> Sequence[Tensor | None]:
    """The parts of `vector` that begin there; each None if there is none."""
    if vector is None:
        return [None] * len(begins)
    if vector.is_constant:
        return [constant(part) for part in np.split(vector.data, begins[1:])]
    sizes = np.diff([*begins, vector.size])
    return b.split(vector, sizes, [vector.name] * len(sizes))
