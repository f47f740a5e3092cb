"""Gradients of activations and of what chooses between values: in every runtime, against TensorFlow, at every kink."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.tflite_export.oracle import check_gradients, input_tensor
from tests.tflite_export.test_gradients import forward
from tflite_export import lowering
from tflite_export.autodiff import NotDifferentiable, differentiate
from tflite_export.builder import Builder, constant
from tflite_export.passes.canonical import canonicalise
from tflite_export.passes.legalise_micro import check_operators

RANDOM = np.random.default_rng(11)
KINKS = np.array(
    [-30, -6.5, -6, -3.001, -3, -2.999, -1.5, -1.001, -1, -0.999, -1e-3, -1e-12, -0.0, 0, 1e-12, 1e-3, 0.5, 0.999, 1,
     1.001, 2.999, 3, 3.001, 5.999, 6, 6.001, 30],
    np.float32,
)  # fmt: skip

ACTIVATIONS = {
    "hard swish": lambda b, x: b.unary("HARD_SWISH", x),
    "swish": lambda b, x: b.unary("SWISH", x),
    "hard swish, one bit": lambda b, x: b.unary("HARD_SWISH_ONE_BIT", x),
    "swish, one bit": lambda b, x: b.unary("SWISH_ONE_BIT", x),
    "gelu by tanh": lambda b, x: b.unary("GELU", x, approximate=True),
    "hard sigmoid": lambda b, x: b.scale(b.unary("RELU6", b.add(x, constant(3))), 1 / 6),
    "leaky": lambda b, x: b.unary("LEAKY_RELU", x, alpha=0.2),
    "leaky, steep": lambda b, x: b.unary("LEAKY_RELU", x, alpha=1.5),
    "leaky, negative": lambda b, x: b.unary("LEAKY_RELU", x, alpha=-0.5),
    "elu": lambda b, x: b.unary("ELU", x),
    "selu": lambda b, x: b.unary("SELU", x),
    "softplus": lambda b, x: b.unary("SOFTPLUS", x),
    "softsign": lambda b, x: b.div(x, b.add(b.unary("ABS", x), constant(1))),
    "mish": lambda b, x: b.mul(x, b.unary("TANH", b.unary("SOFTPLUS", x))),
    "clip to -1 and 1": lambda b, x: b.unary("RELU_N1_TO_1", x),
    "clip to 0 and 1": lambda b, x: b.unary("RELU_0_TO_1", x),
    "minimum": lambda b, x: b.minimum(x, constant(3)),
    "maximum": lambda b, x: b.maximum(constant(-1), x),
    "abs": lambda b, x: b.unary("ABS", x),
    "sin": lambda b, x: b.unary("SIN", x),
    "cos": lambda b, x: b.unary("COS", x),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("scale", [None, 1e-3, 1.0, 5.0])
def test_activation(name, scale):
    x = KINKS if scale is None else (RANDOM.normal(size=(2, 5, 3, 4)) * scale).astype(np.float32)
    check_gradients(forward({"x": x.shape}, ACTIVATIONS[name]), inputs={"x": x})


@pytest.mark.parametrize("scale", [None, 1e-3, 1.0, 5.0])
def test_gelu_where_tflite_micro_has_none(scale):
    x = KINKS if scale is None else (RANDOM.normal(size=(2, 5, 3, 4)) * scale).astype(np.float32)
    graph = forward({"x": x.shape}, lambda b, x: b.unary("GELU", x, approximate=False))
    check_gradients(graph, inputs={"x": x}, micro=False)
    with pytest.raises(ValueError, match=r"layer 'layer': TFLite Micro has no operator GELU; .*approximate=True"):
        check_operators(graph)


@pytest.mark.parametrize("alpha", [(4,), (1, 1, 4), (5, 3, 4)])
def test_prelu(alpha):
    x = RANDOM.normal(size=(2, 5, 3, 4)).astype(np.float32)
    x[0, 0, 0] = 0
    check_gradients(forward({"x": x.shape, "alpha": alpha}, lambda b, x, a: b.binary("PRELU", x, a)), inputs={"x": x})


@pytest.mark.parametrize("kind", ["MINIMUM", "MAXIMUM"])
@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 4, 5), (5,)), ((2, 1, 1, 5), (2, 3, 4, 5))])
def test_of_equal_operands_the_first_takes_the_gradient(kind, shapes):
    x, y = (np.round(RANDOM.normal(size=shape) * 2).astype(np.float32) for shape in shapes)
    graph = forward({"x": x.shape, "y": y.shape}, lambda b, x, y: b.binary(kind, x, y))
    check_gradients(graph, inputs={"x": x, "y": y})


@pytest.mark.parametrize("kind", ["REDUCE_MAX", "REDUCE_MIN"])
@pytest.mark.parametrize("axes", [(1, 2), (0,), (-1, 1)])
def test_equal_extrema_share_the_gradient(kind, axes):
    x = np.round(RANDOM.normal(size=(2, 3, 4, 5))).astype(np.float32)
    for keep_dims in (True, False):
        graph = canonicalise(forward({"x": x.shape}, lambda b, x, k=keep_dims: b.reduce(kind, x, axes, k)))
        check_gradients(graph, inputs={"x": x})


@pytest.mark.parametrize("exponent", [-1.0, -0.5, 0.5, 1.5, 2.0, 3.0])
def test_constant_power(exponent):
    x = RANDOM.uniform(0.3, 3, size=(3, 5)).astype(np.float32)
    x[0] *= -1 if exponent == round(exponent) else 1
    graph = canonicalise(forward({"x": x.shape}, lambda b, x: b.binary("POW", x, constant(exponent))))
    check_gradients(graph, inputs={"x": x}, tolerance=2e-5, micro=exponent != 1.5)


def test_trainable_power():
    draw = {"x": RANDOM.uniform(0.3, 3, size=(3, 5)).astype(np.float32), "p": np.float32([2, 3, 0, -1, 1.5])}
    graph = forward({"x": (3, 5), "p": (5,)}, lambda b, x, p: b.binary("POW", x, p))
    check_gradients(graph, inputs=draw, tolerance=2e-5, micro=False)
    draw = {"x": np.float32([[-1.5, -1, 0, 2]]), "p": np.float32([[2, 3, 2, 2]])}
    check_gradients(
        forward({"x": (1, 4), "p": (1, 4)}, lambda b, x, p: b.binary("POW", x, p)), inputs=draw, micro=False
    )


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 7), (2, 3, 4, 5), (1, 2)])
def test_softmax_of_any_rank(shape):
    check_gradients(forward({"x": shape}, lambda b, x: b.unary("SOFTMAX", x, beta=1.0)))
    check_gradients(forward({"x": shape}, lambda b, x: b.unary("LOG_SOFTMAX", x)), tolerance=2e-5)


def test_softmax_with_beta():
    check_gradients(forward({"x": (3, 5)}, lambda b, x: b.unary("SOFTMAX", x, beta=0.7)))


@pytest.mark.parametrize("adj_x", [False, True])
@pytest.mark.parametrize("adj_y", [False, True])
@pytest.mark.parametrize("front", [((2, 3), (2, 3)), ((4,), (4,)), ((2, 3), (1, 3)), ((2, 3), (3,))])
def test_batched_matrix_product(adj_x, adj_y, front):
    x, y = (front[0] + ((4, 5) if adj_x else (5, 4))), (front[1] + ((6, 4) if adj_y else (4, 6)))
    check_gradients(forward({"x": x, "y": y}, lambda b, x, y: b.batch_matmul(x, y, adj_x, adj_y)))


def test_selection():
    """And the comparison in front of it, which nothing depends on smoothly."""

    def build(b, x, y):
        condition = b.compare("GREATER", x, constant(0.25))
        return b.select(condition, b.mul(x, y), b.unary("TANH", y))

    x = RANDOM.normal(size=(2, 3, 4)).astype(np.float32)
    x[0, 0, 0] = 0.25
    check_gradients(forward({"x": x.shape, "y": (4,)}, build), inputs={"x": x})


def test_casts_between_floats():
    check_gradients(forward({"x": (3, 4)}, lambda b, x: b.mul(b.cast(b.mul(x, x), "float32"), x)))


def test_l2_normalization():
    x = RANDOM.normal(size=(2, 3, 5)).astype(np.float32)
    graph = forward({"x": x.shape}, lambda b, x: b.unary("L2_NORMALIZATION", x))
    check_gradients(canonicalise(graph), inputs={"x": x})


def test_add_n():
    def build(b, x, y):
        return b.op("ADD_N", (b.unary("TANH", x), y, b.mul(x, y)), x.shape)

    check_gradients(canonicalise(forward({"x": (3, 4), "y": (3, 4)}, build)))


@pytest.mark.parametrize("activation", ["RELU", "RELU6", "RELU_N1_TO_1"])
def test_fused_activations(activation):
    x = RANDOM.normal(size=(4, 5)).astype(np.float32) * 3

    def build(b, x, y):
        return b.op("ADD", (x, y), x.shape, fused_activation_function=activation)

    check_gradients(canonicalise(forward({"x": x.shape, "y": (5,)}, build)), inputs={"x": x})


def test_a_fused_activation_that_kernels_leave_out():
    graph = forward({"x": (4, 5)}, lambda b, x: b.op("ADD", (x, x), x.shape, fused_activation_function="TANH"))
    with pytest.raises(ValueError, match="ADD has the fused activation TANH, which LiteRT's kernels leave out"):
        canonicalise(graph)


KERAS = {
    "hard_swish": "HARD_SWISH", "hard_sigmoid": "RELU6", "silu": "SWISH", "gelu": "GELU", "leaky_relu": "LEAKY_RELU",
    "elu": "ELU", "selu": "SELU", "softplus": "SOFTPLUS", "softsign": "ABS", "mish": "SOFTPLUS", "celu": "MINIMUM",
    "log_sigmoid": "SOFTPLUS", "tanh_shrink": "TANH", "squareplus": "SQRT", "hard_tanh": "RELU_N1_TO_1",
    "hard_shrink": "SELECT_V2", "soft_shrink": "SELECT_V2", "sparse_plus": "SELECT_V2", "log_softmax": "LOG_SOFTMAX",
}  # fmt: skip


# The converter makes RELU of TensorFlow's maximum(x, 0), which has slope 1 at 0; and in float32 selu(-1e-12) is 0.
APART = {"celu": [0], "selu": [-1e-12]}


@pytest.mark.parametrize("name", KERAS)
def test_activation_as_keras_lowers_it(name):
    """Its gradient in the lowered graph is that of Keras; the graph holds the operator that is expected."""
    import tensorflow as tf

    from tests.tflite_export.oracle import with_gradients
    from tflite_export.evaluate import evaluate

    x = keras.Input((3, 9))
    model = keras.Model(x, layers.Activation(name)(x))
    graph = canonicalise(lowering.lower(model, 1, ()))
    assert KERAS[name] in {op.kind for op in graph.ops}
    graph = graph.replace(outputs={"y": graph.outputs["output"]})

    value = np.where(np.isin(KINKS, np.float32(APART.get(name, []))), np.float32(0.25), KINKS).reshape(1, 3, 9)
    cotangent = RANDOM.normal(size=value.shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tensor = tf.constant(value)
        tape.watch(tensor)
        y = model(tensor)
    expected = tape.gradient(y, tensor, cotangent).numpy()
    got = evaluate(with_gradients(graph), {"x": value, "cotangent": cotangent})
    np.testing.assert_allclose(got["y"], y.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got["dx"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "advice"), [("FLOOR", "constant nearly everywhere"), ("REDUCE_PROD", "SUM of"), ("CUMSUM", "BATCH_MATMUL")]
)
def test_what_has_no_rule_names_what_has(kind, advice):
    graph = forward({"x": (2, 3)}, lambda b, x: b.unary(kind, x))
    with pytest.raises(NotDifferentiable, match=rf"layer 'layer': no gradient rule for {kind}.*{advice}"):
        differentiate(graph.ops, {graph.outputs["y"]: input_tensor("d", 2, 3)}, graph.inputs.values(), Builder())


def test_large_inputs_stay_finite():
    """exp overflows in float32 from 89 on."""
    x = np.float32([-500, -89, 89, 500])
    for kind in ("SWISH", "SOFTPLUS", "SELU", "ELU", "HARD_SWISH"):
        check_gradients(forward({"x": x.shape}, lambda b, x, k=kind: b.unary(k, x)), inputs={"x": x})
