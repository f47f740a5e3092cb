"""Every gradient rule in every runtime, over awkward shapes, against TensorFlow's GradientTape."""

import numpy as np
import pytest

from tests.tflite_export.oracle import check_gradients, check_lowered, input_tensor
from tflite_export.autodiff import RULES, NotDifferentiable, differentiate
from tflite_export.builder import Builder, constant, integers
from tflite_export.geometry import explicit_padding
from tflite_export.graph import Graph

RANDOM = np.random.default_rng(7)


def forward(inputs, build) -> Graph:
    b = Builder("layer")
    tensors = {name: input_tensor(name, *shape) for name, shape in inputs.items()}
    y = build(b, *tensors.values())
    return Graph("main", tensors, {"y": y}, tuple(b.ops))


def kernel(*shape):
    return constant(RANDOM.normal(size=shape).astype(np.float32))


SIZES = [(1, 7, 6), (3, 5, 5), (1, 1, 4), (2, 8, 3)]  # batch, height, width


WINDOWS = [
    (size, k, stride, padding)
    for size in SIZES
    for k in (1, 3, 5)
    for stride in (1, 2, 3)
    for padding in ("SAME", "VALID")
    if padding == "SAME" or k <= min(size[1:])
]


@pytest.mark.parametrize(("size", "k", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("kind", ["dense", "depthwise", "multiplier", "grouped"])
def test_convolution(kind, size, k, stride, padding):
    batch, height, width = size
    channels = {"dense": 3, "depthwise": 4, "multiplier": 2, "grouped": 4}[kind]
    explicit = explicit_padding(padding, (height, width), (k, k), (stride, stride))

    def build(b, x):
        if kind == "dense":
            return b.conv_2d(x, kernel(5, k, k, 3), (stride, stride), explicit)
        if kind == "grouped":
            return b.conv_2d(x, kernel(6, k, k, 2), (stride, stride), explicit)
        return b.depthwise_conv_2d(x, kernel(1, k, k, 4), (stride, stride), explicit)

    check_gradients(forward({"x": (batch, height, width, channels)}, build))


@pytest.mark.parametrize(("size", "k", "stride", "padding"), WINDOWS)
@pytest.mark.parametrize("kind", ["dense", "depthwise", "multiplier", "grouped"])
def test_trainable_kernel(kind, size, k, stride, padding):
    batch, height, width = size
    explicit = explicit_padding(padding, (height, width), (k, k), (stride, stride))
    shape = {"dense": (5, k, k, 4), "depthwise": (1, k, k, 4), "multiplier": (1, k, k, 12), "grouped": (6, k, k, 2)}

    def build(b, x, kernel):
        convolve = b.conv_2d if kind in ("dense", "grouped") else b.depthwise_conv_2d
        return convolve(x, kernel, (stride, stride), explicit)

    check_gradients(forward({"x": (batch, height, width, 4), "kernel": shape[kind]}, build))


# (image, kernel, strides) of 1-D layers, which lie along the width, and of layers that step unevenly
UNEVEN = [
    ((2, 7, 8), (3, 3), (2, 1)),
    ((1, 9, 5), (3, 2), (1, 2)),
    ((2, 1, 12), (1, 3), (1, 2)),
    ((3, 1, 7), (1, 5), (1, 3)),
    ((1, 8, 9), (2, 3), (3, 2)),
    ((2, 5, 5), (1, 1), (2, 1)),
]


@pytest.mark.parametrize(("image", "window", "stride"), UNEVEN)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kind", ["dense", "depthwise", "multiplier", "grouped"])
def test_strides_that_differ(kind, image, window, stride, padding):
    explicit = explicit_padding(padding, image[1:], window, stride)
    shape = {"dense": (3, *window, 4), "depthwise": (1, *window, 4), "multiplier": (1, *window, 8)}
    shape = shape.get(kind, (6, *window, 2))

    def build(b, x, kernel):
        convolve = b.conv_2d if kind in ("dense", "grouped") else b.depthwise_conv_2d
        return convolve(x, kernel, stride, explicit)

    check_gradients(forward({"x": (*image, 4), "kernel": shape}, build))
    check_gradients(forward({"x": (*image, 4)}, lambda b, x: build(b, x, kernel(*shape))))


@pytest.mark.parametrize(("image", "window", "stride"), UNEVEN)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pools_with_strides_that_differ(kind, image, window, stride, padding):
    check_gradients(forward({"x": (*image, 3)}, lambda b, x: pool(b, kind, x, window, stride, padding)))


@pytest.mark.parametrize(
    ("image", "window", "stride"), [*UNEVEN, ((2, 3, 4), (3, 3), (2, 2)), ((1, 4, 1), (5, 5), (3, 3))]
)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("more", [0, 1])
@pytest.mark.parametrize("trained", [False, True])
def test_transposed_convolution(image, window, stride, padding, more, trained):
    """Of the sizes that a convolution would bring back to the image's: the smallest, and one more where it steps."""
    out = [(n - 1) * s + (1 if padding == "SAME" else k) for n, k, s in zip(image[1:], window, stride, strict=True)]
    out = [n + min(more, s - 1) for n, s in zip(out, stride, strict=True)]

    def build(b, x, kernel):
        attributes = {"padding": padding, "stride_h": stride[0], "stride_w": stride[1]}
        return b.op("TRANSPOSE_CONV", (integers((image[0], *out, 5)), kernel, x), (image[0], *out, 5), **attributes)

    if trained:
        check_gradients(forward({"x": (*image, 3), "kernel": (5, *window, 3)}, build))
    else:
        check_gradients(forward({"x": (*image, 3)}, lambda b, x: build(b, x, kernel(5, *window, 3))))


def test_a_transposed_convolution_with_a_bias():
    def build(b, x, bias):
        shape = (2, 7, 5, 4)
        inputs = (integers(shape), kernel(4, 3, 3, 2), x, bias)
        attributes = {"padding": "VALID", "stride_h": 2, "stride_w": 1, "fused_activation_function": "NONE"}
        return b.op("TRANSPOSE_CONV", inputs, shape, **attributes)

    check_lowered(forward({"x": (2, 3, 3, 2), "bias": (4,)}, build))


@pytest.mark.parametrize("kind", ["dense", "depthwise"])
def test_trainable_dilated_kernel(kind):
    def build(b, x, kernel):
        convolve = b.depthwise_conv_2d if kind == "depthwise" else b.conv_2d
        return convolve(x, kernel, (1, 1), ((2, 1), (0, 3)), (2, 2))

    check_gradients(forward({"x": (2, 7, 8, 3), "kernel": (1 if kind == "depthwise" else 2, 3, 3, 3)}, build))


def test_a_large_kernel_gradient_goes_row_by_row():
    check_gradients(forward({"x": (2, 40, 40, 12), "kernel": (4, 3, 3, 12)}, lambda b, x, w: b.conv_2d(x, w)))


@pytest.mark.parametrize("kind", ["dense", "depthwise"])
@pytest.mark.parametrize("padding", [((2, 2), (2, 2)), ((0, 0), (0, 0)), ((3, 1), (0, 4))])
def test_dilated_convolution(kind, padding):
    def build(b, x):
        if kind == "dense":
            return b.conv_2d(x, kernel(2, 3, 3, 3), (1, 1), padding, (2, 2))
        return b.depthwise_conv_2d(x, kernel(1, 3, 3, 3), (1, 1), padding, (2, 2))

    check_gradients(forward({"x": (2, 7, 8, 3)}, build))


@pytest.mark.parametrize("padding", [((1, 0), (2, 1)), ((3, 3), (3, 3)), ((0, 5), (1, 0))])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("k", [1, 3])
def test_unusual_padding(padding, stride, k):
    """Padding wider than the kernel, or on one side only: the image may have to be cropped, not padded."""
    check_gradients(
        forward({"x": (1, 6, 7, 2)}, lambda b, x: b.conv_2d(x, kernel(3, k, k, 2), (stride, stride), padding))
    )
    build = lambda b, x: b.depthwise_conv_2d(x, kernel(1, k, k, 2), (stride, stride), padding)  # noqa: E731
    check_gradients(forward({"x": (1, 6, 7, 2)}, build))


def pool(b, kind, x, window, stride, padding):
    height, width = (
        -(-(n if padding == "SAME" else n - k + 1) // s) for n, k, s in zip(x.shape[1:3], window, stride, strict=True)
    )
    attributes = {"filter_height": window[0], "filter_width": window[1], "stride_h": stride[0], "stride_w": stride[1]}
    shape = (x.shape[0], height, width, x.shape[3])
    return b.op(kind, (x,), shape, padding=padding, fused_activation_function="NONE", **attributes)


@pytest.mark.parametrize("kind", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("window", [(2, 2), (3, 3), (3, 2), (5, 6), (1, 1)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_pooling(kind, padding, window, stride, channels):
    check_gradients(forward({"x": (2, 5, 6, channels)}, lambda b, x: pool(b, kind, x, window, (stride,) * 2, padding)))


def test_of_equal_maxima_the_first_takes_the_gradient():
    x = np.round(RANDOM.normal(size=(2, 6, 6, 3)) * 2).astype(np.float32)  # full of ties
    for window, stride in [((2, 2), 2), ((3, 3), 2), ((3, 3), 1)]:
        graph = forward({"x": x.shape}, lambda b, x, w=window, s=stride: pool(b, "MAX_POOL_2D", x, w, (s, s), "SAME"))
        check_gradients(graph, inputs={"x": x})


@pytest.mark.parametrize("kind", ["RELU", "RELU6"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 5.0])
def test_rectifiers(kind, scale):
    x = (RANDOM.normal(size=(2, 5, 3, 4)) * scale).astype(np.float32)
    check_gradients(forward({"x": x.shape}, lambda b, x: b.unary(kind, x)), inputs={"x": x})


def test_rectifier_masks_hold_over_the_whole_float_range():
    below, inside, above = [-1e30, -6, -1e-3, -1e-20, -0.0, 0.0], [1e-29, 1e-12, 1e-5, 1, 5.999], [6, 6.001, 1e4, 1e30]
    x = np.array([*below, *inside, *above], np.float32)
    for kind in ("RELU", "RELU6"):
        check_gradients(forward({"x": x.shape}, lambda b, x, k=kind: b.unary(k, x)), inputs={"x": x})


@pytest.mark.parametrize("kind", ["LOGISTIC", "TANH"])
def test_smooth_activations(kind):
    check_gradients(forward({"x": (3, 5)}, lambda b, x: b.unary(kind, x)))


@pytest.mark.parametrize("shape", [(3, 5), (1, 2)])
def test_softmax(shape):
    check_gradients(forward({"x": shape}, lambda b, x: b.op("SOFTMAX", (x,), x.shape, beta=1.0)))


@pytest.mark.parametrize("kind", ["SQUARE", "SQRT", "RSQRT", "EXP", "LOG", "NEG"])
def test_unary_functions(kind):
    x = RANDOM.uniform(0.3, 3, size=(3, 5)).astype(np.float32)
    check_gradients(forward({"x": x.shape}, lambda b, x: b.unary(kind, x)), inputs={"x": x}, tolerance=2e-5)


@pytest.mark.parametrize("half_pixel_centers", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 4, 6, 8), (1, 4, 4, 7, 7), (3, 1, 1, 4, 5), (1, 7, 5, 3, 5), (2, 5, 6, 5, 6)])
def test_bilinear_resizing(half_pixel_centers, size):
    batch, height, width, rows, columns = size

    def build(b, x):
        attributes = {"half_pixel_centers": half_pixel_centers, "align_corners": False}
        return b.op("RESIZE_BILINEAR", (x, integers((rows, columns))), (batch, rows, columns, 3), **attributes)

    check_gradients(forward({"x": (batch, height, width, 3)}, build), evaluator=1e-6)


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE"])
@pytest.mark.parametrize(
    "shapes", [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (5,)), ((2, 1, 1, 5), (2, 3, 4, 5)), ((1,), (3, 4))]
)
def test_arithmetic_with_broadcasting(kind, shapes):
    y = RANDOM.uniform(0.5, 2, size=shapes[1]).astype(np.float32)  # away from zero, for DIV
    check_gradients(forward({"x": shapes[0], "y": shapes[1]}, lambda b, x, y: b.binary(kind, x, y)), inputs={"y": y})


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("rows", [1, 4])
def test_matrix_product(adj_x, adj_y, rows):
    x, y = ((3, rows) if adj_x else (rows, 3)), ((5, 3) if adj_y else (3, 5))
    check_gradients(forward({"x": x, "y": y}, lambda b, x, y: b.matmul(x, y, adj_x, adj_y)))


@pytest.mark.parametrize("kind", ["SUM", "MEAN"])
@pytest.mark.parametrize("axes", [(1, 2), (0, 1, 2), (3,), (-1, 0)])
@pytest.mark.parametrize("keep_dims", [True, False])
def test_reductions(kind, axes, keep_dims):
    check_gradients(forward({"x": (2, 3, 4, 5)}, lambda b, x: b.reduce(kind, x, axes, keep_dims)))


SHAPE_CHANGES = {
    "reshape": lambda b, x: b.reshape(x, (6, 20)),
    "transpose": lambda b, x: b.transpose(x, (0, 3, 1, 2)),
    "pad": lambda b, x: b.pad(x, [(0, 0), (1, 2), (0, 3), (0, 0)]),
    "slice": lambda b, x: b.slice(x, (0, 1, 0, 2), (2, 2, 4, 3)),
    "gather": lambda b, x: b.gather(x, (4, 0, 0, 3), 3),
    "permutation": lambda b, x: b.gather(x, (2, 3, 1, 0), 2),
    "depth to space": lambda b, x: b.depth_to_space(b.slice(x, (0, 0, 0, 0), (2, 3, 4, 4)), (2, 2)),
    "space to depth": lambda b, x: b.space_to_depth(b.slice(x, (0, 0, 0, 0), (2, 2, 4, 5)), (2, 2)),
    "depth to uneven space": lambda b, x: b.depth_to_space(b.pad(x, [(0, 0)] * 3 + [(0, 1)]), (2, 3)),
    "uneven space to depth": lambda b, x: b.space_to_depth(x, (3, 2)),
    "columns to depth": lambda b, x: b.space_to_depth(x, (1, 2)),
    "copies": lambda b, x: b.copies(x, 3, 2),
    "concatenate": lambda b, x: b.concatenate([x, b.unary("RELU", x), x], 3),
    "broadcast": lambda b, x: b.broadcast(b.reduce("MEAN", x, (1, 2), True), (2, 3, 4, 5)),
}


@pytest.mark.parametrize("change", SHAPE_CHANGES)
def test_changes_of_shape(change):
    check_gradients(forward({"x": (2, 3, 4, 5)}, SHAPE_CHANGES[change]))


def test_a_value_used_twice_gets_both_gradients():
    check_gradients(forward({"x": (2, 3, 3, 4)}, lambda b, x: b.mul(b.add(x, b.unary("RELU", x)), x)))


def test_every_rule_is_tested_against_tensorflow():
    from tests.tflite_export.tensorflow_reference import KINDS

    assert set(RULES) <= KINDS


def test_an_unknown_operator_is_named():
    graph = forward({"x": (2, 3)}, lambda b, x: b.unary("FLOOR", x))
    with pytest.raises(NotDifferentiable, match=r"layer 'layer': no gradient rule for FLOOR.* train_from="):
        differentiate(graph.ops, {graph.outputs["y"]: input_tensor("d", 2, 3)}, graph.inputs.values(), Builder())


def test_an_unreached_variable_is_named():
    graph = forward({"x": (2, 3), "unused": (4,)}, lambda b, x, unused: b.unary("RELU", x))
    with pytest.raises(NotDifferentiable, match="does not depend on unused"):
        differentiate(graph.ops, {graph.outputs["y"]: input_tensor("d", 2, 3)}, graph.inputs.values(), Builder())
