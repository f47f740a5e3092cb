"""Canonical operators in forms that every runtime takes; what differs is in legalise_<runtime>.py."""

from __future__ import annotations

import dataclasses

import numpy as np

from tflite_export.builder import Builder, constant
from tflite_export.constants import SELU_ALPHA, SELU_SCALE
from tflite_export.geometry import explicit_padding
from tflite_export.graph import LARGEST_INPUT, Graph, Op, Tensor
from tflite_export.passes import input_gradients, kernel_gradients
from tflite_export.passes.broadcast import elide_broadcasts
from tflite_export.passes.constant_folding import fold_constants
from tflite_export.passes.max_pool_gradient import max_pool
from tflite_export.passes.rewrite import rewrite


def all_finite(b: Builder, op: Op) -> Tensor:
    return b.compare("EQUAL", b.zero_or_nan(op.inputs), constant(0))


def one_if_finite(b: Builder, op: Op) -> Tensor:
    return b.cast(all_finite(b, op), "float32")


def zero_unless_finite(b: Builder, op: Op) -> Tensor:
    x, *y = op.inputs
    return b.select(b.compare("EQUAL", b.zero_or_nan(y), constant(0)), x, constant(np.zeros([1] * len(x.shape))))


def broadcast(b: Builder, op: Op) -> Tensor:
    """What `elide_broadcasts` could not feed to an elementwise reader is stretched by a product with ones."""
    (x,), shape = op.inputs, op.outputs[0].shape
    ones = [1 if n == m else m for n, m in zip(x.shape, shape, strict=True)]
    return b.mul(x, constant(np.ones(ones), x.dtype))


def mask_of_output(b: Builder, op: Op) -> Tensor:
    """A bool mask by comparisons."""
    (y,) = op.inputs
    positive = b.compare("GREATER", y, constant(0))
    if op.attributes["activation"] == "RELU":
        return positive
    return b.binary("LOGICAL_AND", positive, b.compare("LESS", y, constant(6)))


def mask_of_positive(b: Builder, op: Op) -> Tensor:
    return b.compare("GREATER", op.inputs[0], constant(0))


def mask_of_equal(b: Builder, op: Op) -> Tensor:
    return b.compare("EQUAL", *op.inputs)


def swish(b: Builder, op: Op) -> Tensor:
    (x,) = op.inputs
    return b.mul(x, b.unary("LOGISTIC", x))


def hard_swish(b: Builder, op: Op) -> Tensor:
    return b.unary("HARD_SWISH", *op.inputs)


def softplus(b: Builder, op: Op) -> Tensor:
    """max(x, 0) + log(1 + exp(-|x|))."""
    (x,) = op.inputs
    rest = b.unary("EXP", b.scale(b.unary("ABS", x), -1))
    return b.add(b.unary("RELU", x), b.unary("LOG", b.add(rest, constant(1))))


def selu(b: Builder, op: Op) -> Tensor:
    (x,) = op.inputs
    below = b.minimum(b.unary("ELU", x), constant(0))
    return b.add(b.scale(b.unary("RELU", x), SELU_SCALE), b.scale(below, SELU_SCALE * SELU_ALPHA))


ACTIVATIONS = {
    "HARD_SWISH_ONE_BIT": hard_swish,
    "SELU": selu,
    "SOFTPLUS": softplus,
    "SWISH": swish,
    "SWISH_ONE_BIT": swish,
}


def select_by_mask(b: Builder, op: Op) -> Tensor:
    gradient, mask = op.inputs
    return b.select(mask, gradient, constant(0))


def checked_input(b: Builder, op: Op) -> Tensor:
    return b.zero_or_nan(op.inputs, LARGEST_INPUT)


def update_if(b: Builder, op: Op) -> Tensor:
    return b.select(*op.inputs)


def matmul_by_fully_connected(b: Builder, op: Op) -> Tensor:
    """a @ b.T is FULLY_CONNECTED; other forms transpose first (constants at compile time)."""
    x, y = op.inputs
    x = b.transpose(x, (1, 0)) if op.attributes["adj_x"] else x
    y = y if op.attributes["adj_y"] else b.transpose(y, (1, 0))
    return b.op("FULLY_CONNECTED", (x, y, None), op.outputs[0].shape, fused_activation_function="NONE")


def matmul_by_batch_matmul(b: Builder, op: Op) -> Tensor:
    return b.op("BATCH_MATMUL", op.inputs, op.outputs[0].shape, **op.attributes)


GRADIENTS = {
    "CONV_2D_INPUT_GRADIENT": input_gradients.convolution,
    "DEPTHWISE_CONV_2D_INPUT_GRADIENT": input_gradients.depthwise,
    "AVERAGE_POOL_2D_GRADIENT": input_gradients.average_pool,
    "CONV_2D_KERNEL_GRADIENT": kernel_gradients.convolution,
    "DEPTHWISE_CONV_2D_KERNEL_GRADIENT": kernel_gradients.depthwise,
    "MAX_POOL_2D_GRADIENT": max_pool,
}


def is_pointwise_gradient(op: Op) -> bool:
    """Whether an input gradient is the product of every pixel with one frozen matrix."""
    kernel, x = op.inputs[1], op.outputs[0]
    steps = (op.attributes[name] for name in ("stride_h", "stride_w"))
    return (
        kernel.is_constant
        and kernel.shape[1:] == (1, 1, x.shape[3])
        and all(step == 1 for step in steps)
        and not np.any(op.attributes["padding"])
    )


def expand_gradients(graph: Graph) -> Graph:
    """The canonical gradients of windowed operators as forward operators, still canonical; the same for all runtimes.

    What they compute from frozen kernels alone is computed here.
    """
    return fold_constants(elide_broadcasts(rewrite(graph, GRADIENTS)))


def _padding_by_name(b: Builder, op: Op) -> Tensor | None:
    """Explicit padding as SAME or VALID where one of them means it, else by a PAD in front."""
    padding = op.attributes["padding"]
    if isinstance(padding, str):
        return None
    x, kernel = op.inputs[:2]
    geometry = (
        x.shape[1:3],
        kernel.shape[1:3],
        (op.attributes["stride_h"], op.attributes["stride_w"]),
        (op.attributes["dilation_h_factor"], op.attributes["dilation_w_factor"]),
    )
    for name in ("VALID", "SAME"):
        if explicit_padding(name, *geometry) == padding:
            return _with(b, op, x, name)
    return _with(b, op, b.pad(x, [(0, 0), *padding, (0, 0)]), "VALID")


def _with(b: Builder, op: Op, x: Tensor, padding: str) -> Tensor:
    return b.op(op.kind, (x, *op.inputs[1:]), op.outputs[0].shape, **{**op.attributes, "padding": padding})


def concatenate_in_steps(most: int):
    """A rule for CONCATENATION where a runtime takes no more than `most` operands."""

    def rule(b: Builder, op: Op) -> Tensor | None:
        if len(op.inputs) <= most:
            return None
        parts = list(op.inputs)
        while len(parts) > 1:
            groups = [parts[i : i + most] for i in range(0, len(parts), most)]
            parts = [group[0] if len(group) == 1 else b.concatenate(group, op.attributes["axis"]) for group in groups]
        return parts[0]

    return rule


PADDING = {"CONV_2D": _padding_by_name, "DEPTHWISE_CONV_2D": _padding_by_name}


def _zero_bias(b: Builder, op: Op) -> Tensor | None:
    """Older runtimes read the bias without asking whether there is one."""
    if op.inputs[2] is not None:
        return None
    bias = constant(np.zeros(op.outputs[0].shape[-1]), name="zero_bias")
    b.copy(dataclasses.replace(op, inputs=(*op.inputs[:2], bias)))
    return op.outputs[0]


BIAS = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), _zero_bias)
