"""Where a header allows an output to be an input, the result is that of separate buffers."""

import ctypes
import struct

import numpy as np
import pytest

from tests.micro.bindings import CQuantization, address

SHAPE = (2, 3, 5, 12)
PIXELS, CHANNELS = 30, 12


def _random(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype(np.float32) * 4


def _int8():
    return np.random.default_rng(5).integers(-128, 128, (2, PIXELS, CHANNELS)).astype(np.int8)


def _add(kernels, out):
    a, b = _random(2, PIXELS, CHANNELS)
    y = {"new": np.empty_like(a), "first": a, "second": b}[out]
    mask = np.empty((PIXELS, 2), np.uint8)
    assert kernels.tinytl_add(address(a), address(b), PIXELS, CHANNELS, 2, address(y), address(mask)) == 0
    return y, mask


def _add_int8(kernels, out):
    a, b = _int8()
    y = {"new": np.empty_like(a), "first": a, "second": b}[out]
    mask = np.empty((PIXELS, 2), np.uint8)
    scales = [ctypes.byref(CQuantization(s, z)) for s, z in ((0.1, 3), (0.07, -5), (0.2, 1))]
    inputs = address(a), scales[0], address(b), scales[1]
    outputs = scales[2], 1, 100, address(y), address(mask)
    assert kernels.tinytl_add_s8(*inputs, PIXELS, CHANNELS, *outputs) == 0
    return y, mask


def _activate_int8(kernels, out):
    x = _int8()[0]
    y = {"new": np.empty_like(x), "first": x}[out]
    mask = np.empty((PIXELS, 2), np.uint8)
    assert kernels.tinytl_activate_s8(address(x), PIXELS, CHANNELS, -3, 90, address(y), address(mask)) == 0
    return y, mask


def _resize_and_add_int8(kernels, out):
    a, x = _int8()[0].reshape(SHAPE), _random(2, 2, 2, 12)
    y = {"new": np.empty_like(a), "first": a}[out]
    scales = [ctypes.byref(CQuantization(s, z)) for s, z in ((0.1, 3), (0.2, 1))]
    params = struct.pack("<8i", *x.shape, *SHAPE)
    assert kernels.tinytl_resize_bilinear_add_s8(params, address(x), address(a), *scales, address(y)) == 0
    return (y,)


def _one_input(call):
    def run(kernels, out):
        x = _random(PIXELS, CHANNELS)
        y = {"new": np.empty_like(x), "first": x}[out]
        assert call(kernels, address(x), address(y)) == 0
        return (y,)

    return run


def _mask(kernels, x, y):
    mask = np.random.default_rng(1).integers(0, 256, (PIXELS, 2)).astype(np.uint8)
    return kernels.tinytl_mask_apply(x, address(mask), PIXELS, CHANNELS, y)


def _scale(kernels, x, y):
    return kernels.tinytl_scale_offset(x, PIXELS * CHANNELS, ctypes.c_float(0.3), ctypes.c_float(-2), y)


def _group_norm(kernels, x, y):
    params = struct.pack("<5ifi", *SHAPE, 3, 1e-3, 1)
    return kernels.tinytl_group_norm_forward(params, x, None, None, y, None, None, None)


def _cross_entropy(kernels, x, y):
    params, labels = struct.pack("<iiff", PIXELS, CHANNELS, 0.1, 0), np.arange(PIXELS, dtype=np.int32) % 13
    return kernels.tinytl_sparse_cross_entropy(params, x, address(labels), y, address(np.empty(4, np.int32)))


def _group_norm_gradient(kernels, out):
    x, dy = _random(2, *SHAPE)
    dx = {"new": np.empty_like(x), "first": x, "second": dy}[out]
    mean, rstd = _random(2, 6)
    params = struct.pack("<5ifi", *SHAPE, 3, 1e-3, 0)
    sums = np.zeros((2, CHANNELS), np.float32)
    given = address(x), address(dy), None, address(mean), address(rstd)
    assert kernels.tinytl_group_norm_gradient(params, *given, address(sums[0]), None, None, False, address(dx)) == 0
    return dx, sums


CALLS = {
    "add": (_add, ("first", "second")),
    "add int8": (_add_int8, ("first", "second")),
    "activate int8": (_activate_int8, ("first",)),
    "resize and add int8": (_resize_and_add_int8, ("first",)),
    "mask": (_one_input(_mask), ("first",)),
    "activate": (_one_input(lambda k, x, y: k.tinytl_activate(x, PIXELS, CHANNELS, 2, y, None)), ("first",)),
    "scale": (_one_input(_scale), ("first",)),
    "softmax": (_one_input(lambda k, x, y: k.tinytl_softmax(PIXELS, CHANNELS, x, y)), ("first",)),
    "cross-entropy": (_one_input(_cross_entropy), ("first",)),
    "group norm": (_one_input(_group_norm), ("first",)),
    "group norm gradient": (_group_norm_gradient, ("first", "second")),
}


@pytest.mark.parametrize("name, out", [(name, out) for name, (_, outs) in CALLS.items() for out in outs])
def test_in_place(kernels, name, out):
    call = CALLS[name][0]
    for separate, together in zip(call(kernels, "new"), call(kernels, out)):
        np.testing.assert_array_equal(separate, together)
        assert np.abs(separate.astype(np.float64)).sum() > 0
