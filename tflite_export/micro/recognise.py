"""Canonical forward graph -> forward graph of C operators, with bias and activation inside the convolutions."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tflite_export.builder import Builder
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph, Op, Tensor, consumers, producers
from tflite_export.micro.forms import ACTIVATED, CONVOLUTIONS, FORWARD
from tflite_export.micro.group_norm import name_group_norms
from tflite_export.micro.params import is_pointwise
from tflite_export.micro.zeros import leave_out_zeros
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import rewrite


def recognise(graph: Graph) -> Graph:
    """The same forward pass in C operators (`forms.FORWARD`) and READ_VARIABLE.

    Raises:
        ValueError: an operator that no C kernel runs; the message names the layer.
    """
    graph = name_group_norms(fold_constants(graph))
    graph = rewrite(graph, {"MATMUL": _product(graph)})
    graph = rewrite(graph, _RULES)
    graph = rewrite(graph, {"reshape": _reshape_once})
    graph = leave_out_zeros(remove_dead_code(graph))
    graph = _with_biases(graph)
    graph = remove_dead_code(_with_activations(graph))
    _check(graph)
    return graph


def _product(graph: Graph):
    """A matrix product with weights is a convolution of single pixels."""
    table = producers(graph.ops)

    def rule(b: Builder, op: Op) -> Tensor | None:
        x, kernel = op.inputs
        if op.attributes["adj_x"] or not (op.attributes["adj_y"] or kernel.is_constant):
            return None  # `stored_kernels` turned every matrix that is a weight
        before = table.get(kernel)
        if before is not None and before.kind == "RESHAPE" and before.inputs[0].shape[0] == kernel.shape[0]:
            kernel = before.inputs[0]
        if not op.attributes["adj_y"]:
            kernel = dataclasses.replace(kernel, shape=kernel.shape[::-1], data=np.ascontiguousarray(kernel.data.T))
        attributes = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "groups": 1, "activation": "NONE"}
        return b.op("conv", (x, kernel, None), op.outputs[0].shape, **attributes)

    return rule


def _shaped(tensor: Tensor, shape) -> Tensor:
    return dataclasses.replace(tensor, shape=tuple(shape), data=tensor.data.reshape(shape))


def _convolution(b: Builder, op: Op) -> Tensor:
    x, kernel, bias = (*op.inputs, None)[:3]
    dilation = op.attributes.get("dilation_h_factor", 1), op.attributes.get("dilation_w_factor", 1)
    if dilation != (1, 1):
        raise ValueError(f"layer {op.origin!r}: the C kernels have no dilated convolutions, got dilation {dilation}")
    attributes = {
        "stride": (op.attributes["stride_h"], op.attributes["stride_w"]),
        "padding": op.attributes["padding"],
        "groups": x.shape[3] // kernel.shape[3],
        "activation": "NONE",
    }
    return b.op("conv", (x, kernel, bias), op.outputs[0].shape, **attributes)


def _depthwise(b: Builder, op: Op) -> Tensor:
    """One whose kernel trains, or makes several channels of one, is a convolution of as many groups as channels:
    `stored_kernels` has turned the kernel that trains."""
    x, kernel, bias = (*op.inputs, None)[:3]
    if kernel.is_constant and kernel.shape[3] == x.shape[3]:
        y = _convolution(b, op)
        b.ops[-1] = dataclasses.replace(b.ops[-1], kind="depthwise")
        return y
    if kernel.is_constant:
        turned = np.ascontiguousarray(np.transpose(kernel.data, (3, 1, 2, 0)))
        kernel = dataclasses.replace(kernel, shape=turned.shape, data=turned)
    y = _convolution(b, dataclasses.replace(op, inputs=(x, kernel, bias)))
    b.ops[-1] = dataclasses.replace(b.ops[-1], attributes={**b.ops[-1].attributes, "groups": x.shape[3]})
    return y


_MOST_TAPS = 256  # a byte says which of them is the largest


def _pool(kind: str):
    def rule(b: Builder, op: Op) -> Tensor:
        attributes = {
            "window": (op.attributes["filter_height"], op.attributes["filter_width"]),
            "stride": (op.attributes["stride_h"], op.attributes["stride_w"]),
            "padding": _pool_padding(op),
        }
        if kind == "max_pool" and math.prod(attributes["window"]) > _MOST_TAPS:
            height, width = attributes["window"]
            raise ValueError(
                f"layer {op.origin!r}: a window of the C kernels' max pool has at most {_MOST_TAPS} pixels, got "
                f"{height} x {width}; use two pools, one behind the other"
            )
        return b.op(kind, op.inputs[:1], op.outputs[0].shape, **attributes)

    return rule


def _pool_padding(op: Op):
    window = op.attributes["filter_height"], op.attributes["filter_width"]
    stride = op.attributes["stride_h"], op.attributes["stride_w"]
    return explicit_padding(op.attributes["padding"], op.inputs[0].shape[1:3], window, stride)


def _mean(b: Builder, op: Op) -> Tensor | None:
    x, axes = op.inputs
    if len(x.shape) != 4 or sorted(int(axis) % 4 for axis in axes.data.ravel()) != [1, 2]:
        return None
    return b.op("mean", (x,), op.outputs[0].shape)


def _bilinear(b: Builder, op: Op) -> Tensor:
    names = ("half_pixel_centers", "align_corners")
    return b.op("bilinear", op.inputs[:1], op.outputs[0].shape, **{n: bool(op.attributes.get(n, False)) for n in names})


def _arithmetic(kind: str):
    """Of two tensors of one shape, or of one and a number; a bias stays TFLite's ADD until `_with_biases`."""

    def rule(b: Builder, op: Op) -> Tensor | None:
        x, y = op.inputs
        if x.is_constant and not y.is_constant and kind in ("add", "multiply"):
            x, y = y, x
        if y.is_constant and y.size == 1 and op.outputs[0].shape == x.shape:
            value = float(y.data.ravel()[0])
            multiplier = value if kind == "multiply" else 1.0
            offset = {"add": value, "subtract": -value, "multiply": 0.0}[kind]
            return b.op("scale", (x,), x.shape, multiplier=multiplier, offset=offset)
        if x.shape == y.shape or (x.size == y.size and len(x.shape) == 1):
            return b.op(kind, (x, y), op.outputs[0].shape)
        return None

    return rule


_numbers_multiplied = _arithmetic("multiply")


def _multiply(b: Builder, op: Op) -> Tensor | None:
    """By a constant for every channel, as a normalization has behind a bias that trains: a depthwise convolution of
    single pixels, whose int8 kernel is exact."""
    for x, factors in (op.inputs, op.inputs[::-1]):
        is_vector = factors.is_constant and factors.shape[-1:] == (factors.size,) and factors.size > 1
        if is_vector and len(x.shape) == 4 and x.shape[3] == factors.size and op.outputs[0].shape == x.shape:
            attributes = {"stride": (1, 1), "padding": ((0, 0), (0, 0)), "groups": factors.size, "activation": "NONE"}
            kernel = _shaped(factors, (1, 1, 1, factors.size))
            return b.op("depthwise", (x, kernel, None), x.shape, **attributes)
    return _numbers_multiplied(b, op)


def _activation(b: Builder, op: Op) -> Tensor:
    return b.op("rectify", op.inputs, op.outputs[0].shape, activation=op.kind)


def _reshape(b: Builder, op: Op) -> Tensor:
    return b.op("reshape", op.inputs[:1], op.outputs[0].shape, op.outputs[0].dtype)


_RULES = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "AVERAGE_POOL_2D": _pool("average_pool"),
    "MAX_POOL_2D": _pool("max_pool"),
    "MEAN": _mean,
    "RESIZE_BILINEAR": _bilinear,
    "ADD": _arithmetic("add"),
    "SUB": _arithmetic("subtract"),
    "MUL": _multiply,
    "RELU": _activation,
    "RELU6": _activation,
    "RESHAPE": _reshape,
}


def _reshape_once(b: Builder, op: Op) -> Tensor | None:
    """Of several reshapes one is left, and none around a convolution of single pixels."""
    (x,), (y,) = op.inputs, op.outputs
    if x.shape == y.shape:
        return x
    table = producers(b.ops)
    before = table.get(x)
    if before is not None and before.kind == "reshape":
        (source,) = before.inputs
        return source if source.shape == y.shape else b.op("reshape", (source,), y.shape, y.dtype)
    if before is not None and _is_pixelwise(before) and y.shape[-1] == x.shape[-1]:
        source, shape = before.inputs[0], (*y.shape[:-1], before.inputs[0].shape[-1])
        below = table.get(source)
        if below is not None and below.kind == "reshape" and below.inputs[0].shape == shape:
            return b.op("conv", (below.inputs[0], *before.inputs[1:]), y.shape, **before.attributes)
    return None


def _is_pixelwise(op: Op) -> bool:
    return op.kind == "conv" and is_pointwise(op)


def _with_biases(graph: Graph) -> Graph:
    """ADD of a vector behind a convolution becomes its bias."""
    table, readers = producers(graph.ops), consumers(graph.ops)
    outputs = set(graph.outputs.values())
    ops: list[Op] = []
    for op in graph.ops:
        if op.kind == "ADD":
            for x, bias in (op.inputs, op.inputs[::-1]):
                before = table.get(x)
                if (
                    before is not None
                    and before.kind in CONVOLUTIONS
                    and before.inputs[2] is None
                    and len(readers[x]) == 1
                    and x not in outputs
                    and bias.size == math.prod(bias.shape[-1:]) == x.shape[-1]
                ):
                    if bias.is_constant:
                        bias = _shaped(bias, (bias.size,))
                    op = dataclasses.replace(before, inputs=(*before.inputs[:2], bias), outputs=op.outputs)
                    table[op.outputs[0]] = op
                    break
        ops.append(op)
    return remove_dead_code(graph.replace(ops=tuple(ops)))


def _with_activations(graph: Graph) -> Graph:
    """The rectifier behind an operator that has an activation becomes that."""
    table, readers = producers(graph.ops), consumers(graph.ops)
    outputs = set(graph.outputs.values())
    ops = []
    for op in graph.ops:
        if op.kind == "rectify":
            (x,) = op.inputs
            before = table.get(x)
            free = before is not None and before.kind in ACTIVATED
            free = free and before.attributes["activation"] == "NONE" and len(readers[x]) == 1 and x not in outputs
            if free:
                attributes = {**before.attributes, "activation": op.attributes["activation"]}
                op = dataclasses.replace(before, outputs=op.outputs, attributes=attributes)
        ops.append(op)
    return graph.replace(ops=tuple(ops))


def _check(graph: Graph) -> None:
    for op in graph.ops:
        if op.kind == "READ_VARIABLE":
            continue
        if op.kind == "MUL" and any(len(t.shape) == 1 and not t.is_constant for t in op.inputs):
            raise ValueError(
                f"layer {op.origin!r}: its scale trains, and no C kernel computes that. Freeze it, as "
                "tinytl_keras.convert(model, 'bias') does, or use export(…, runtime='micro')"
            )
        if op.kind not in FORWARD:
            shapes = ", ".join(str(list(t.shape)) for t in op.inputs if t is not None)
            raise ValueError(
                f"layer {op.origin!r}: no C kernel computes {op.kind} of {shapes}. The generated program knows "
                "convolutions, dense layers, ReLU and ReLU6, pools, GroupNormalization of lite residual branches, "
                "bilinear resizing and sums of equal shapes; export(…, runtime='micro') knows more"
            )
        if op.kind in CONVOLUTIONS and op.inputs[1].dtype != "float32":
            raise ValueError(f"layer {op.origin!r}: its kernel is {op.inputs[1].dtype}, expected float32")
        if op.outputs[0].shape[0] != 1 and len(op.outputs[0].shape) == 4:
            raise ValueError(f"layer {op.origin!r}: the generated program takes one row, got {op.outputs[0].shape}")
        if any(t is not None and t.is_constant and not np.isfinite(t.data).all() for t in op.inputs):
            raise ValueError(f"layer {op.origin!r} has a weight that is not finite")
