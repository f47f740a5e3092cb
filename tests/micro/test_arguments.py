"""What the functions refuse, with which status, and that a refusal writes nothing; the helpers; adjointness."""

import ctypes
import struct

import numpy as np
import pytest

from tests.micro import bindings, convolution_cases
from tests.micro.bindings import address
from tests.micro.goldens import Call, Optimizer, Out, Space, Variable
from tests.micro.windows import AWKWARD, Window

NULL, SHAPE, ARGUMENT, WORKSPACE = 1, 2, 3, 4
WINDOW = Window((1, 5, 5, 4), (3, 3))


def _untouched(shape, dtype=np.float32) -> Out:
    start = np.full(shape, 3, dtype)
    return Out(start, start)


def _conv(x="x", groups=2, activation=0, output=(1, 5, 5, 6), kernel=(3, 3), pads=(1, 1), space=4096, strides=(1, 1)):
    params = struct.pack("<14i", *WINDOW.input, *output, *kernel, *strides, *pads)
    data = np.zeros(WINDOW.input, np.float32) if x else None
    weights, scale = np.zeros((6, 3, 3, 2), np.int8), np.zeros(6, np.float32)
    y, mask = _untouched((1, 5, 5, 6)), _untouched((25, 1), np.uint8)
    params += struct.pack("<ii", groups, activation)
    return params, data, weights, scale, None, y, mask, Space(space), space


REFUSED_CONVOLUTIONS = {
    "no x": ({"x": None}, NULL),
    "groups do not divide": ({"groups": 3}, SHAPE),
    "no groups": ({"groups": 0}, SHAPE),
    "batches differ": ({"output": (2, 5, 5, 6)}, SHAPE),
    "empty output": ({"output": (1, 0, 5, 6)}, SHAPE),
    "a window wholly below": ({"output": (1, 7, 5, 6)}, SHAPE),
    "a window wholly to the right": ({"output": (1, 5, 7, 6)}, SHAPE),
    "padding of a whole window": ({"pads": (3, 1)}, SHAPE),
    "negative padding": ({"pads": (1, -1)}, SHAPE),
    "stride 0": ({"strides": (0, 1)}, SHAPE),
    "unknown activation": ({"activation": 3}, ARGUMENT),
    "workspace": ({"space": 16}, WORKSPACE),
}


@pytest.mark.parametrize("why", REFUSED_CONVOLUTIONS)
def test_refused_convolutions(kernels, why):
    changed, status = REFUSED_CONVOLUTIONS[why]
    bindings.call(kernels, Call(why, "tinytl_conv_forward", _conv(**changed), status))


def test_one_byte_of_workspace_too_few(kernels):
    for function, workspace, params in _workspaces():
        needed = getattr(kernels, workspace)(params)
        arrays = [np.zeros(4096, np.float32)] * 3
        arguments = (params, arrays[0], np.zeros(4096, np.int8), arrays[1], None, False, _untouched(1), Space(needed))
        bindings.call(kernels, Call(function, function, (*arguments, needed - 1), WORKSPACE))


def _workspaces():
    window = WINDOW.struct(4)
    yield "tinytl_conv_input_gradient", "tinytl_conv_workspace_bytes", window + struct.pack("<ii", 1, 0)
    yield "tinytl_depthwise_input_gradient", "tinytl_depthwise_workspace_bytes", window + struct.pack("<i", 0)
    yield "tinytl_pointwise_input_gradient", "tinytl_pointwise_workspace_bytes", struct.pack("<4i", 3, 4, 4, 0)


@pytest.mark.parametrize("window", AWKWARD)
def test_workspaces(kernels, window):
    """The helpers say what the goldens were given."""
    channels = window.input[3]
    params = window.struct(channels) + struct.pack("<ii", 1, 0)
    assert kernels.tinytl_conv_workspace_bytes(params) == convolution_cases.conv_space(window, channels).size
    assert kernels.tinytl_depthwise_workspace_bytes(params) == convolution_cases.depthwise_space(window).size
    sizes = [space(window, channels).size for space in (convolution_cases.conv_space, convolution_cases.int8_space)]
    assert kernels.tinytl_conv_workspace_bytes_s8(params) == max(sizes)
    assert kernels.tinytl_depthwise_workspace_bytes_s8(params) == convolution_cases.depthwise_space(window).size


@pytest.mark.parametrize("window", [w for w in AWKWARD if w.pads is None])
def test_same_padding(kernels, window):
    (top, height), (left, width) = window.axis(0), window.axis(1)
    given = (ctypes.c_int32 * 6)(*window.kernel, *window.strides, -9, -9)
    output = (ctypes.c_int32 * 4)(5, -9, -9, 6)
    assert kernels.tinytl_same_padding((ctypes.c_int32 * 4)(*window.input), given, output) == 0
    assert list(given)[4:] == [top, left] and list(output) == [5, height, width, 6]


def test_refused_updates(kernels):
    gradient = np.ones(3, np.float32)

    def refused(kind, first, second, count, status):
        slots = (_untouched(3), _untouched(3) if first else None, _untouched(3) if second else None)
        arguments = (Optimizer(kind, 0.1, momentum=0.5), Variable(*slots), gradient, count)
        bindings.call(kernels, Call(f"update {kind}", "tinytl_update", arguments, status))

    refused(0, False, False, 0, SHAPE)
    refused(1, False, False, 3, NULL)
    refused(2, True, False, 3, NULL)


@pytest.mark.parametrize(
    "field, value",
    [
        ("learning_rate", np.inf),
        ("learning_rate", np.nan),
        ("weight_decay", -1.0),
        ("beta_1", 1.0),
        ("beta_2", 0.0),
        ("epsilon", 0.0),
        ("kind", 3),
    ],
)
def test_refused_optimizers(kernels, field, value):
    optimizer = bindings.COptimizer(2, False, 0.1, 0.0, 0.9, 0.999, 1e-7, 0.0, 1.0, 0.0)
    assert kernels.tinytl_optimizer_begin_step(ctypes.byref(optimizer), 1) == 0
    assert kernels.tinytl_optimizer_begin_step(ctypes.byref(optimizer), 0) == ARGUMENT
    setattr(optimizer, field, value)
    assert kernels.tinytl_optimizer_begin_step(ctypes.byref(optimizer), 1) == ARGUMENT


def test_input_gradient_is_the_adjoint(kernels):
    """<conv(x), dy> = <x, gradient(dy)> for random windows, whatever TensorFlow thinks of them."""
    generator = np.random.default_rng(7)
    for _ in range(200):
        kernel, strides = generator.integers(1, 6, 2), generator.integers(1, 4, 2)
        pads = [int(generator.integers(0, k)) for k in kernel]
        size = generator.integers(1, 9, 2)
        output = [int(generator.integers(1, (n + p - 1) // s + 2)) for n, p, s in zip(size, pads, strides)]
        groups = int(generator.integers(1, 4))
        inputs, outputs = (groups * int(generator.integers(1, 14)) for _ in range(2))
        shape = (int(generator.integers(1, 3)), *map(int, size), inputs)
        window = Window(shape, tuple(map(int, kernel)), tuple(map(int, strides)), (*pads, *output))
        params = window.struct(outputs) + struct.pack("<ii", groups, 0)
        space = np.empty(kernels.tinytl_conv_workspace_bytes(params), np.uint8)
        weights = generator.integers(-127, 128, (outputs, *window.kernel, inputs // groups)).astype(np.int8)
        scale = generator.random(outputs).astype(np.float32)
        x, y = (generator.normal(size=s).astype(np.float32) for s in (shape, window.output(outputs)))
        forward, backward = np.empty_like(y), np.empty_like(x)
        pointers = [a.ctypes.data_as(ctypes.c_void_p) for a in (weights, scale)]
        tail = space.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(space.size)

        assert kernels.tinytl_conv_forward(params, address(x), *pointers, None, address(forward), None, *tail) == 0
        assert (
            kernels.tinytl_conv_input_gradient(params, address(y), *pointers, None, False, address(backward), *tail)
            == 0
        )
        left, right = np.vdot(forward.astype(np.float64), y), np.vdot(backward.astype(np.float64), x)
        assert left == pytest.approx(right, rel=1e-4, abs=1e-6 * float(np.abs(forward).sum())), window
