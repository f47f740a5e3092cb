"""Every refusal names the thing, what was got and what to do."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tinytl_keras
from tests.tinytl_keras.models import cnn, two_in_two_out


@pytest.mark.parametrize("method", ["biases", "", None])
def test_unknown_method(method):
    with pytest.raises(ValueError, match="must be one of .*'lite_residual.bias'.*Received: method="):
        tinytl_keras.convert(cnn(), method)


def test_methods_are_those_of_the_paper():
    assert tinytl_keras.METHODS == ("last", "bias", "lite_residual", "lite_residual+bias", "norm+last", "full")


def test_sequential_without_input_shape():
    with pytest.raises(ValueError, match="Sequential model 'seq' has no input shape.*keras.Input"):
        tinytl_keras.convert(keras.Sequential([layers.Dense(2)], name="seq"))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="mine")
        self.dense = layers.Dense(2)

    def call(self, inputs):
        return self.dense(inputs)


def test_subclassed_model():
    model = Subclassed()
    model(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="Model 'mine' .Subclassed. has no graph.*functional API"):
        tinytl_keras.convert(model)


class OverriddenCall(keras.Model):
    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs)


def test_functional_model_with_a_call_of_its_own():
    inputs = keras.Input((3,))
    with pytest.raises(ValueError, match="OverriddenCall. has no graph"):
        tinytl_keras.convert(OverriddenCall(inputs, layers.Dense(2)(inputs)))


def test_tf_keras_model():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Input((3,)), tf_keras.layers.Dense(2)])
    with pytest.raises(TypeError, match=r"Keras 3 model.*tf_keras.*set_weights\(model.get_weights\(\)\)"):
        tinytl_keras.convert(model)


@pytest.mark.parametrize("model", [None, "model.keras", layers.Dense(2), tf.Module()])
def test_what_is_no_model(model):
    with pytest.raises(TypeError, match="must be a keras.Model. Received"):
        tinytl_keras.convert(model)


@pytest.mark.parametrize("num_classes", [0, -1, 2.0, True, "3"])
def test_num_classes(num_classes):
    with pytest.raises(ValueError, match="`num_classes` must be an integer of 1 or more, or None. Received"):
        tinytl_keras.convert(cnn(), num_classes=num_classes)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, True, "0.2"])
def test_head_dropout(dropout):
    with pytest.raises(ValueError, match="`head_dropout` must be .*below 1. Received"):
        tinytl_keras.convert(cnn(), num_classes=2, head_dropout=dropout)


def test_head_dropout_without_a_new_head():
    with pytest.raises(ValueError, match="`head_dropout` belongs to a new head.*num_classes"):
        tinytl_keras.convert(cnn(), head_dropout=0.2)


def test_num_classes_for_two_outputs():
    with pytest.raises(ValueError, match="one output.*'two_in_two_out' with 2 outputs"):
        tinytl_keras.convert(two_in_two_out(), num_classes=2)


@pytest.mark.parametrize("method", ["last", "bias"])
def test_nothing_to_train(method):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, layers.Conv2D(4, 3, use_bias=False)(inputs), name="bare")
    with pytest.raises(ValueError, match=f"method='{method}' finds nothing to train in model 'bare'.*num_classes"):
        tinytl_keras.convert(model, method)
    assert len(tinytl_keras.convert(model, "full").trainable_variables) == 1


def test_features_of_rank_one():
    inputs = keras.Input(())
    with pytest.raises(ValueError, match="rank 2 to 5"):
        tinytl_keras.convert(keras.Model(inputs, layers.ReLU()(inputs)), "bias", num_classes=2)


@pytest.mark.parametrize("branches", ["yes", 2, [], 0.5])
def test_branches(branches):
    with pytest.raises(ValueError, match="`branches` must be None .* Received: branches="):
        tinytl_keras.convert(cnn(), "bias", branches=branches)


@pytest.mark.parametrize("config", [None, {"kernel_size": 3}, tinytl_keras.LiteResidualConfig])
def test_lite_residual(config):
    with pytest.raises(TypeError, match="must be a tinytl_keras.LiteResidualConfig.*Received"):
        tinytl_keras.convert(cnn(), lite_residual=config)


@pytest.mark.parametrize("blocks", ["all", None, [], ["conv"], [("a", "b", "c")], [("conv")], 3])
def test_blocks(blocks):
    with pytest.raises(ValueError, match="`blocks` must be 'auto' or a list of pairs.*Received: blocks="):
        tinytl_keras.convert(cnn(), blocks=blocks)


def test_blocks_of_a_method_without_branches():
    with pytest.raises(ValueError, match="where lite residual branches go, and method='bias' .*Pass branches=True"):
        tinytl_keras.convert(cnn(), "bias", blocks=[("conv", "conv")])


@pytest.mark.parametrize("apart", [False, True])
def test_num_classes_of_a_model_that_predicts_at_every_place(apart):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.Softmax()(layers.Conv2D(5, 3)(x)) if apart else layers.Conv2D(5, 3, activation="sigmoid")(x)
    with pytest.raises(ValueError, match="predicts at every place: its output .None, 6, 6, 5. .*num_classes=None"):
        tinytl_keras.convert(keras.Model(inputs, x), "bias", num_classes=2)


class WithoutConfig(layers.Layer):
    def __init__(self, function):
        super().__init__(name="strange")
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def test_layer_that_cannot_be_copied():
    inputs = keras.Input((8,))
    outputs = layers.Dense(2)(WithoutConfig(lambda x: 2 * x)(inputs))
    with pytest.raises(ValueError, match="Layer 'strange' .WithoutConfig. cannot be copied.*get_config"):
        tinytl_keras.convert(keras.Model(inputs, outputs), "bias")


FACTOR = 3.0


def double(x):
    return 2 * x


class ForgetsAnArgument(WithoutConfig):
    def get_config(self):
        return {"name": self.name}


class NeedsAnotherCall(layers.Layer):
    """Its copy has a `factor` of 0, because `get_config` does not tell it."""

    def __init__(self, factor=0, **options):
        super().__init__(**options)
        self.factor = factor

    def call(self, inputs):
        if not self.factor:
            raise ZeroDivisionError("by no factor")
        return inputs / self.factor

    def get_config(self):
        return {"name": self.name}


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Lambda(double, name="strange"), r"Lambda.*again.*locate function 'double'.*without the globals"),
        (layers.Lambda(lambda x: double(x) * FACTOR, name="strange"), "Lambda.*the globals FACTOR, double.*arguments="),
        (
            layers.Lambda(lambda x: x * FACTOR, output_shape=(8,), name="strange"),
            "Lambda.*again.*NameError: its function uses the globals FACTOR",
        ),
        (
            ForgetsAnArgument(double),
            "ForgetsAnArgument.*again.*unexpected keyword argument 'name'.*every argument of its `__init__`",
        ),
        (NeedsAnotherCall(3, name="strange"), "NeedsAnotherCall.*ZeroDivisionError: .*by no factor.*every argument"),
    ],
)
@pytest.mark.parametrize("method", ["bias", "full"])
def test_layer_whose_copy_fails(layer, message, method):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(2)(layer(inputs)))
    with pytest.raises(ValueError, match=f"^Layer 'strange' .{message}.*register_keras_serializable") as refused:
        tinytl_keras.convert(model, method)
    assert "\x1b" not in str(refused.value) and len(str(refused.value).splitlines()) == 1


@keras.saving.register_keras_serializable("tests")
def halve(x):
    return x / 2


@keras.saving.register_keras_serializable("tests")
class Triple(layers.Layer):
    def call(self, inputs):
        return FACTOR * inputs


@pytest.mark.parametrize(
    "layer",
    [
        layers.Lambda(lambda x, factor: x * factor, arguments={"factor": FACTOR}),
        layers.Lambda(halve),
        Triple(),
    ],
)
def test_what_is_said_of_a_function_that_cannot_be_copied_helps(layer):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(2)(layer(inputs)))
    x = keras.random.normal((3, 8), seed=0)
    difference = keras.ops.abs(tinytl_keras.convert(model, "bias")(x) - model(x))
    assert float(keras.ops.max(difference)) == 0
