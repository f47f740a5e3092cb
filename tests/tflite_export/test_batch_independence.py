"""What may go through a network in micro-batches, and what is refused, held against what Keras really does."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export._export import compile_model
from tflite_export.batch_independence import check_batch_independence
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Op, Tensor


class Function(layers.Layer):
    """Keras's Lambda, with a name of its own."""

    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def with_layer(function, shape=(4, 6)):
    inputs = keras.Input(shape)
    x = layers.Dense(6, name="first")(inputs)
    x = Function(function, name="suspect")(x)
    return keras.Model(inputs, layers.Dense(3, name="head")(layers.Flatten()(x)))


def attention():
    inputs = keras.Input((4, 6))
    x = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(layers.LayerNormalization()(x))))


INDEPENDENT = {
    "residual": residual_network,
    "branches": lambda: tinytl_keras.convert(residual_network(), "lite_residual+bias"),
    "poolings": plain_cnn,
    "proxyless": lambda: tinytl_keras.backbones.ProxylessNASMobile((32, 32, 3), 5, width=0.35, norm="group"),
    "attention": attention,
    "own mean": lambda: with_layer(lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True)),
    "transposed samples": lambda: with_layer(lambda x: ops.transpose(x, (0, 2, 1))),
    "rows of a sample": lambda: with_layer(lambda x: ops.reshape(ops.softmax(ops.reshape(x, (-1, 6))), (-1, 4, 6))),
    "a constant": lambda: with_layer(lambda x: x + np.arange(6, dtype=np.float32)),
    "every second place": lambda: with_layer(lambda x: ops.concatenate([x[:, ::2], x[:, ::-2]], axis=1)),
    "mirrored": lambda: with_layer(lambda x: ops.pad(x, [(0, 0), (1, 2), (0, 0)], mode="reflect")),
    "repeated": lambda: with_layer(lambda x: ops.repeat(ops.tile(x, (1, 2, 1)), 2, axis=2)),
    "a shift in time": lambda: with_layer(lambda x: ops.reshape(_shifted(ops.reshape(x, (-1, 2, 2, 6))), (-1, 4, 6))),
    "parts": lambda: with_layer(lambda x: ops.concatenate(ops.split(x, 2, axis=2)[::-1], axis=1)),
    "own product": lambda: with_layer(lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1)))),
}
MIXING = {
    "batch mean": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "batch maximum": lambda x: x / (1 + ops.max(ops.abs(x), axis=0)),
    "batch softmax": lambda x: ops.softmax(x, axis=0),
    "reversed batch": lambda x: ops.flip(x, 0),
    "next sample": lambda x: ops.roll(x, 1, axis=0),
    "every second sample": lambda x: ops.repeat(x[::2], 2, axis=0),
    "first sample": lambda x: x - x[:1],
    "other product": lambda x: x * ops.mean(ops.matmul(_flat(x), ops.transpose(_flat(x)))),
    "places": lambda x: x * ops.cast(ops.reshape(ops.arange(ops.shape(x)[0]), (-1, 1, 1)), "float32"),
}


def _shifted(x):
    return ops.concatenate([ops.zeros_like(x[:, :1]), x[:, :-1]], axis=1)


def _flat(x):
    return ops.reshape(x, (-1, 24))


def others_matter(model) -> bool:
    """Whether the first sample's output depends on the second sample or on how many there are, in Keras."""
    random = np.random.default_rng(0)
    x = random.normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    other = np.concatenate([x[:1], random.normal(size=x[:1].shape).astype(np.float32)])
    swapped = model(x[::-1], training=False)[1]
    first, again = (np.asarray(model(batch, training=False))[0] for batch in (x, other))
    return not (np.allclose(first, again, rtol=1e-4, atol=1e-5) and np.allclose(first, swapped, rtol=1e-4, atol=1e-5))


@pytest.mark.parametrize("case", INDEPENDENT)
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_independent_samples_are_accepted(case, micro_batch):
    model = INDEPENDENT[case]()
    assert not others_matter(model)
    *before, _ = [layer for layer in model.layers if layer.weights]
    for layer in before:
        layer.trainable = False
    loss = "mean_squared_error"
    compile_model(model, ExportOptions(batch_size=4, micro_batch=micro_batch, loss=loss))


@pytest.mark.parametrize("case", MIXING)
@pytest.mark.parametrize("micro_batch", [1, 2])
def test_a_layer_that_mixes_samples_is_refused_by_name(case, micro_batch):
    model = with_layer(MIXING[case])
    assert others_matter(model)
    model.get_layer("first").trainable = False
    with pytest.raises(ValueError, match="layer 'suspect': .* may mix the samples of a batch .axis 0."):
        compile_model(model, ExportOptions(batch_size=4, micro_batch=micro_batch))


def test_one_micro_batch_is_the_batch():
    """With clipping alone, samples may see each other as they like."""
    model = with_layer(MIXING["batch mean"])
    compile_model(model, ExportOptions(batch_size=4, clip_norm=1.0))
    compile_model(model, ExportOptions(batch_size=4, micro_batch=4))


def test_what_cannot_be_proved_is_refused():
    """A recurrent layer puts time in front of the batch. No sample sees another, but this proof does not go so far."""
    model = keras.Sequential([keras.Input((4, 6)), layers.LSTM(5, unroll=True, name="lstm"), layers.Dense(3)])
    assert not others_matter(model)
    with pytest.raises(ValueError, match="layer 'lstm': TRANSPOSE of .* may mix"):
        compile_model(model, ExportOptions(batch_size=4, micro_batch=1))


def test_an_operator_that_nothing_is_known_of_is_refused():
    x, y = Tensor("x", (2, 3)), Tensor("y", (2, 3))
    graph = Graph("main", {"x": x}, {"y": y}, (Op("HASHTABLE_LOOKUP", (x,), (y,), {}, "lookup"),))
    with pytest.raises(ValueError, match=r"layer 'lookup': HASHTABLE_LOOKUP of \[2, 3\] may mix"):
        check_batch_independence(graph)
