"""Operators that only move values."""

from __future__ import annotations

import numpy as np

from tflite_export.autodiff.registry import NotDifferentiable, rule


@rule("RESHAPE")
def _reshape(b, op, gradient, wanted):
    return b.reshape(gradient, op.inputs[0].shape), None


@rule("TRANSPOSE")
def _transpose(b, op, gradient, wanted):
    return b.transpose(gradient, np.argsort(op.inputs[1].data)), None


@rule("PAD")
def _pad(b, op, gradient, wanted):
    return b.slice(gradient, op.inputs[1].data[:, 0], op.inputs[0].shape), None


@rule("SLICE")
def _slice(b, op, gradient, wanted):
    x, begin = op.inputs[0], op.inputs[1].data
    after = np.asarray(x.shape) - begin - np.asarray(gradient.shape)
    return b.pad(gradient, np.stack([begin, after], axis=1)), None, None


@rule("CONCATENATION")
def _concatenation(b, op, gradient, wanted):
    axis = op.attributes["axis"] % len(gradient.shape)
    gradients, start = [], 0
    for tensor, want in zip(op.inputs, wanted):
        begin = [start if i == axis else 0 for i in range(len(gradient.shape))]
        gradients.append(b.slice(gradient, begin, tensor.shape) if want else None)
        start += tensor.shape[axis]
    return gradients


@rule("SPLIT", "SPLIT_V")
def _split(b, op, gradients, wanted):
    missing = [piece.name for piece, gradient in zip(op.outputs, gradients, strict=True) if gradient is None]
    if missing:
        raise NotDifferentiable(f"the loss does not depend on {', '.join(missing)}; freeze what is not used")
    axis = op.inputs[0] if op.kind == "SPLIT" else op.inputs[2]
    whole = b.concatenate(gradients, int(axis.data.item()))
    return (None, whole) if op.kind == "SPLIT" else (whole, None, None)


@rule("DEPTH_TO_SPACE")
def _depth_to_space(b, op, gradient, wanted):
    return (b.space_to_depth(gradient, (op.attributes["block_size"],) * 2),)


@rule("SPACE_TO_DEPTH")
def _space_to_depth(b, op, gradient, wanted):
    return (b.depth_to_space(gradient, (op.attributes["block_size"],) * 2),)


@rule("BROADCAST")
def _broadcast(b, op, gradient, wanted):
    return (b.sum_to(gradient, op.inputs[0].shape),)
