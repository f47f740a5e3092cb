"""Whole networks of today's activations: what Keras lowers them to trains like Keras, in every runtime."""

import keras
import pytest
from keras import layers

from tests.tflite_export.models import calibrated
from tflite_export import export
from tflite_export._export import compile_model
from tflite_export.arena import plan
from tflite_export.export_options import ExportOptions

BUILTIN, XNNPACK, MICRO = {"kernels": "builtin"}, {"kernels": "xnnpack"}, {"runtime": "micro"}


def transformer() -> keras.Model:
    """Two heads of attention and a perceptron, each behind a layer normalization, over 6 tokens of 8 channels."""
    x = inputs = keras.Input((6, 5))
    x = layers.Dense(8, name="embed")(x)
    y = layers.LayerNormalization(name="attention_norm")(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4, name="attention")(y, y, use_causal_mask=True)])
    y = layers.LayerNormalization(name="mlp_norm")(x)
    y = layers.Dense(16, activation=_gelu_by_tanh, name="mlp_expand")(y)
    x = layers.Add()([x, layers.Dense(8, name="mlp_project")(y)])
    x = layers.LayerNormalization(name="norm")(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="head")(layers.GlobalMaxPooling1D()(x)))


@keras.saving.register_keras_serializable("tests")
def _gelu_by_tanh(x):
    return keras.activations.gelu(x, approximate=True)


def inverted_residual(activation: str, gate: str) -> keras.Model:
    """As in MobileNetV3 and EfficientNet: squeeze-and-excite between the depthwise convolution and the projection."""
    x = inputs = keras.Input((9, 9, 3))
    x = layers.Activation(activation)(layers.Conv2D(8, 3, strides=2, padding="same", name="stem")(x))
    y = layers.Activation(activation)(layers.Conv2D(16, 1, name="expand")(x))
    y = layers.Activation(activation)(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y))
    s = layers.GlobalAveragePooling2D(keepdims=True)(y)
    s = layers.Conv2D(4, 1, activation="relu", name="squeeze")(s)
    s = layers.Conv2D(16, 1, activation=gate, name="excite")(s)
    y = layers.Conv2D(8, 1, name="project")(layers.Multiply()([y, s]))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, y]))
    return calibrated(keras.Model(inputs, layers.Dense(4, name="head")(x)))


def assorted() -> keras.Model:
    """What trains slopes, clips, compares and takes maxima."""
    x = inputs = keras.Input((7, 7, 3))
    x = layers.PReLU(shared_axes=[1, 2], alpha_initializer="random_normal")(layers.Conv2D(6, 3, name="first")(x))
    x = layers.ELU()(layers.Conv2D(6, 1, name="second")(x))
    x = layers.LeakyReLU()(layers.DepthwiseConv2D(3, padding="same", name="third")(x))
    x = layers.ReLU(max_value=1.5, threshold=0.1)(layers.Conv2D(8, 1, name="fourth")(x))
    x = layers.Activation("selu")(layers.Conv2D(8, 1, name="fifth")(x))
    x = layers.Activation("mish")(layers.Conv2D(8, 1, name="sixth")(x))
    x = layers.UnitNormalization()(layers.GlobalMaxPooling2D()(layers.Activation("hard_tanh")(x)))
    return calibrated(keras.Model(inputs, layers.Dense(4, activation="sigmoid", name="head")(x)))


NETWORKS = {
    "transformer": transformer,
    "hard swish": lambda: inverted_residual("hard_swish", "hard_sigmoid"),
    "swish": lambda: inverted_residual("silu", "sigmoid"),
    "assorted": assorted,
}
_SPARSE = "sparse_categorical_crossentropy"
LOSSES = {"assorted": "binary_crossentropy"}


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("transformer", BUILTIN),
        ("transformer", MICRO),
        ("hard swish", XNNPACK),
        ("swish", MICRO),
        ("assorted", XNNPACK),
    ],
)
def test_an_exported_network_trains_like_keras(network, options, tmp_path):
    if "runtime" in options:
        pytest.importorskip("tflite_micro", reason="tflite-micro is an extra: pip install .[micro]")
    keras.utils.set_random_seed(5)
    report = export(NETWORKS[network](), tmp_path / "step.tflite", loss=LOSSES.get(network, _SPARSE), **options)
    assert report.max_difference < 5e-3


def test_attention_does_not_know_the_bias_of_its_keys(tmp_path):
    """Its gradient is rounding, here and in Keras, and Adam makes a step of full size of it."""
    keras.utils.set_random_seed(5)
    report = export(transformer(), tmp_path / "step.tflite", optimizer="adam", **XNNPACK)
    assert "attention/key/bias" in report.trainable_names


def test_one_map_is_kept_for_each_activation():
    """Of swish = x * LOGISTIC(x) and of hard-swish x alone is kept; of ReLU6, one byte per element."""
    import tinytl_keras

    wide, count = 32, 4

    def arena(activation):
        x = inputs = keras.Input((32, 32, 3))
        x = layers.Conv2D(wide, 1)(x)
        for _ in range(count):
            x = layers.DepthwiseConv2D(3, padding="same")(layers.Activation(activation)(x))
        x = layers.Dense(4)(layers.GlobalAveragePooling2D()(x))
        options = ExportOptions(**XNNPACK)
        compiled = compile_model(tinytl_keras.convert(keras.Model(inputs, x), "bias"), options)
        return sum(plan(graph).total_bytes for graph in compiled.training)

    float_map = 4 * 32 * 32 * wide
    rectified = arena("relu6")
    for activation in ("hard_swish", "silu"):
        assert arena(activation) - rectified < (count + 0.5) * float_map
