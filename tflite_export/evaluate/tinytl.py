"""The operators of `graph.CUSTOM`, from what micro/tflm/README.md says of them, and OPTIMIZER_STEP.

Maps are [batch, height, width, channels] or [batch, channels]; a mask has one bit an element, least significant first,
and whole bytes for every pixel.
"""

from __future__ import annotations

import numpy as np

_ACTIVATIONS = {
    "NONE": (lambda v: v, lambda v: np.ones(v.shape, bool)),
    "RELU": (lambda v: np.maximum(v, 0), lambda v: v > 0),
    "RELU6": (lambda v: np.clip(v, 0, 6), lambda v: (v > 0) & (v < 6)),
}


def pack_mask(passes: np.ndarray) -> np.ndarray:
    """uint8 [bytes] of a bool map."""
    return np.packbits(passes.reshape(-1, passes.shape[-1]), axis=1, bitorder="little").ravel()


def unpack_mask(mask: np.ndarray, shape) -> np.ndarray:
    """The bool map of `shape` that `pack_mask` packed."""
    rows = mask.reshape(int(np.prod(shape[:-1])), -1)
    return np.unpackbits(rows, axis=1, count=shape[-1], bitorder="little").reshape(shape).astype(bool)


def _map(x: np.ndarray) -> np.ndarray:
    return x if x.ndim == 4 else x[:, None, None]


def _layer_kernel(op, kernel, scale, channels: int) -> np.ndarray:
    """[out, height, width, channels] of a layer with `channels` input channels, zero where groups do not meet."""
    real = kernel if scale is None else kernel * scale.reshape((-1,) + (1,) * (kernel.ndim - 1))
    real = real if real.ndim == 4 else real[:, None, None]
    whole = np.zeros((*real.shape[:3], channels), real.dtype)
    groups = op.attributes["groups"]
    outputs, inputs = len(real) // groups, channels // groups
    for g in range(groups):
        rows, columns = slice(g * outputs, (g + 1) * outputs), slice(g * inputs, (g + 1) * inputs)
        whole[rows, :, :, columns] = real[rows]
    return whole


def _depthwise_kernel(kernel, scale) -> np.ndarray:
    """[channels, height, width, channels], diagonal."""
    real = (kernel * scale)[0]
    return np.einsum("hwc,cd->chwd", real, np.eye(real.shape[-1]))


def _patches(op, x, kernel_size, out) -> np.ndarray:
    """A view of x padded, [batch, out height, out width, channels, kernel height, kernel width]."""
    strides = op.attributes["stride_h"], op.attributes["stride_w"]
    front = op.attributes["pad_top"], op.attributes["pad_left"]
    reach = [(n - 1) * s + k for n, s, k in zip(out, strides, kernel_size)]
    behind = [max(0, r - f - n) for r, f, n in zip(reach, front, x.shape[1:3])]
    padded = np.pad(x, ((0, 0), *zip(front, behind), (0, 0)))[:, : reach[0], : reach[1]]
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel_size, (1, 2))
    return windows[:, :: strides[0], :: strides[1]]


def _forward(op, x, kernel, bias):
    """`kernel` [out, height, width, in]."""
    y = op.outputs[0].shape
    out = _map(np.empty(y)).shape[1:3]
    value = np.einsum("nhwcij,oijc->nhwo", _patches(op, _map(x), kernel.shape[1:3], out), kernel)
    value = value if bias is None else value + bias.ravel()
    activate, passes = _ACTIVATIONS[op.attributes["activation"]]
    written = [activate(value).reshape(y)]
    if len(op.outputs) > 1:
        written.append(pack_mask(passes(value)).reshape(op.outputs[1].shape))
    return tuple(written)


def _input_gradient(op, dy, kernel, mask_below, other):
    """Every output pixel gives to the input pixels that it was made of."""
    shape, dy = op.outputs[0].shape, _map(dy)
    batch, height, width, channels = _map(np.empty(shape)).shape
    strides, (_, rows, columns, _) = (op.attributes["stride_h"], op.attributes["stride_w"]), kernel.shape
    top, left = op.attributes["pad_top"], op.attributes["pad_left"]
    dx = np.zeros((batch, height, width, channels), dy.dtype)
    for oy, ox in np.ndindex(dy.shape[1:3]):
        given = np.einsum("no,oijc->nijc", dy[:, oy, ox], kernel)
        for i, j in np.ndindex(rows, columns):
            y, x = oy * strides[0] - top + i, ox * strides[1] - left + j
            if 0 <= y < height and 0 <= x < width:
                dx[:, y, x] += given[:, i, j]
    dx = dx.reshape(shape) if other is None else dx.reshape(shape) + other.reshape(shape)
    return dx if mask_below is None else np.where(unpack_mask(mask_below, shape), dx, 0)


def _conv_2d(op, x, kernel, scale=None, bias=None):
    return _forward(op, x, _layer_kernel(op, kernel, scale, x.shape[-1]), bias)


def _depthwise_conv_2d(op, x, kernel, scale, bias=None):
    return _forward(op, x, _depthwise_kernel(kernel, scale), bias)


def _conv_2d_input_gradient(op, dy, kernel, scale=None, mask_below=None, other=None):
    whole = _layer_kernel(op, kernel, scale, op.outputs[0].shape[-1])
    return _input_gradient(op, dy, whole, mask_below, other)


def _depthwise_input_gradient(op, dy, kernel, scale, mask_below=None, other=None):
    return _input_gradient(op, dy, _depthwise_kernel(kernel, scale), mask_below, other)


def _kernel_gradient_of(op, x, dy, shape):
    groups, dy = op.attributes["groups"], _map(dy)
    size = shape[1:3] if len(shape) == 4 else (1, 1)
    patches = _patches(op, _map(x), size, dy.shape[1:3])
    parts = zip(np.split(patches, groups, axis=3), np.split(dy, groups, axis=3), strict=True)
    return np.concatenate([np.einsum("nhwcij,nhwo->oijc", p, d) for p, d in parts]).reshape(shape)


def _kernel_gradient(op, x, dy):
    return _kernel_gradient_of(op, x, dy, op.outputs[0].shape)


def _kernel_update(op, x, dy, value, rate, step=None, gradient_scale=None, *slots):
    gradient = _kernel_gradient_of(op, x, dy, op.outputs[0].shape).reshape(value.shape)
    return _updated(op.attributes, gradient, value, rate, step, gradient_scale, slots)


def _bias_gradient(op, dy, mask=None):
    dy = dy if mask is None else np.where(unpack_mask(mask, dy.shape), dy, 0)
    sums = dy.reshape(-1, dy.shape[-1]).sum(0).reshape(op.outputs[0].shape)
    return (sums,) if mask is None else (sums, dy)


def _bias_update(op, dy, mask, value, rate, step=None, gradient_scale=None, *slots):
    dy = dy if mask is None else np.where(unpack_mask(mask, dy.shape), dy, 0)
    gradient = dy.reshape(-1, dy.shape[-1]).sum(0).reshape(value.shape)
    new = _updated(op.attributes, gradient, value, rate, step, gradient_scale, slots)
    return new if mask is None else (*new, dy)


def _update(op, gradient, value, rate, step=None, gradient_scale=None, *slots):
    return _updated(op.attributes, gradient.reshape(value.shape), value, rate, step, gradient_scale, slots)


def _updated(options, gradient, value, rate, step, gradient_scale, slots) -> tuple[np.ndarray, ...]:
    """(value, slots …) after a step: tinytl/optimizer.h."""
    rate = rate.ravel()[0]
    gradient = gradient * (1 if gradient_scale is None else gradient_scale.ravel()[0])
    value = value - rate * options["weight_decay"] * value
    if options["optimizer"] == "SGD":
        return (value - rate * gradient,)
    if options["optimizer"] == "MOMENTUM":
        velocity = options["momentum"] * slots[0] - rate * gradient
        ahead = options["momentum"] * velocity - rate * gradient if options["nesterov"] else velocity
        return value + ahead, velocity
    m, v = slots
    m = options["beta_1"] * m + (1 - options["beta_1"]) * gradient
    v = options["beta_2"] * v + (1 - options["beta_2"]) * gradient**2
    t = int(step.ravel()[0])
    corrected = m / (1 - options["beta_1"] ** t), v / (1 - options["beta_2"] ** t)
    # Adam's epsilon is added to the uncorrected root (Kingma and Ba, 2015, section 2)
    epsilon = options["epsilon"] / np.sqrt(1 - options["beta_2"] ** t)
    return value - rate * corrected[0] / (np.sqrt(corrected[1]) + epsilon), m, v


def _optimizer_step(op, gradient, value, rate, step=None, *slots):
    optimizer = op.attributes["optimizer"]
    kind = "ADAM" if optimizer.name == "adam" else "MOMENTUM" if optimizer.momentum else "SGD"
    return _updated(
        {**vars(optimizer), "optimizer": kind}, gradient.reshape(value.shape), value, rate, step, None, slots
    )


KERNELS = {
    "OPTIMIZER_STEP": _optimizer_step,
    "TINYTL_CONV_2D": _conv_2d,
    "TINYTL_CONV_2D_INPUT_GRADIENT": _conv_2d_input_gradient,
    "TINYTL_CONV_2D_KERNEL_GRADIENT": _kernel_gradient,
    "TINYTL_CONV_2D_KERNEL_UPDATE": _kernel_update,
    "TINYTL_DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "TINYTL_DEPTHWISE_CONV_2D_INPUT_GRADIENT": _depthwise_input_gradient,
    "TINYTL_BIAS_GRADIENT": _bias_gradient,
    "TINYTL_BIAS_UPDATE": _bias_update,
    "TINYTL_UPDATE": _update,
}
