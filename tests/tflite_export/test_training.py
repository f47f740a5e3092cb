"""The training step as a graph: loss, gates and updates against independent computations."""

import itertools

import keras
import numpy as np
import pytest

import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tests.tflite_export.runtimes import run_litert
from tflite_export import lowering
from tflite_export.builder import Builder
from tflite_export.compilation import compile_signature
from tflite_export.evaluate import evaluate
from tflite_export.graph import Graph, Tensor
from tflite_export.losses import SparseCategoricalCrossentropy
from tflite_export.optimizers import SGD
from tflite_export.passes.canonical import canonicalise
from tflite_export.training import OptimizerState, peel_activation, training_step

RANDOM = np.random.default_rng(3)


def loss_graph(batch, classes, smoothing=0.0) -> Graph:
    b = Builder("loss")
    logits = Tensor("logits", (batch, classes))
    tensors = SparseCategoricalCrossentropy(smoothing).build(b, logits, ())
    outputs = {"loss": tensors.loss, "correct": tensors.correct, "gradient": tensors.gradient}
    return Graph("loss", {"logits": logits, "y": tensors.labels}, outputs, tuple(b.ops))


def everywhere(graph, inputs):
    yield evaluate(graph, inputs)
    for kernels in ("builtin", "xnnpack"):
        compiled = compile_signature(graph, kernels)
        yield run_litert(compiled, inputs, "builtin")
        yield run_litert(compiled, inputs, kernels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("batch", [1, 3])
def test_loss_and_gradient_are_keras_over_the_valid_rows(smoothing, batch):
    import tensorflow as tf

    logits = RANDOM.normal(size=(batch + 2, 5)).astype(np.float32) * 3
    labels = np.concatenate([RANDOM.integers(0, 5, batch), [-1, 5]]).astype(np.int32)  # the last two do not count
    valid = tf.constant(logits[:batch])
    with tf.GradientTape() as tape:
        tape.watch(valid)
        one_hot = tf.one_hot(labels[:batch], 5)
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(one_hot, valid)
    gradient = np.zeros_like(logits)
    gradient[:batch] = tape.gradient(loss, valid)
    for got in everywhere(loss_graph(batch + 2, 5, smoothing), {"logits": logits, "y": labels}):
        np.testing.assert_allclose(got["loss"], [float(loss)], rtol=2e-6)
        np.testing.assert_allclose(got["gradient"], gradient, atol=2e-7)
        assert got["correct"] == np.sum(logits[:batch].argmax(1) == labels[:batch])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38])
def test_no_gradient_leaves_logits_that_are_not_finite(bad):
    logits = RANDOM.normal(size=(3, 4)).astype(np.float32)
    logits[1, 2] = bad
    _, *runtimes = everywhere(loss_graph(3, 4), {"logits": logits, "y": np.array([0, 1, 2], np.int32)})
    for got in runtimes:  # 3.4e38 is what the builtin kernels make of an infinity
        np.testing.assert_array_equal(got["gradient"], np.zeros((3, 4)))
        assert np.isnan(got["loss"]), "a refused step must show in the loss"


def test_no_valid_row_no_gradient():
    logits = RANDOM.normal(size=(2, 4)).astype(np.float32)
    for got in everywhere(loss_graph(2, 4), {"logits": logits, "y": np.array([-1, 4], np.int32)}):
        np.testing.assert_array_equal(got["gradient"], np.zeros((2, 4)))
        assert got["loss"] == 0 and got["correct"] == 0


def step_of(model, batch_size=2):
    forward = canonicalise(lowering.lower(model, batch_size, lowering.trainable_variables(model)))
    state = OptimizerState.of(SGD(), forward.variables)
    return training_step(forward, SparseCategoricalCrossentropy(), SGD(), state)


@pytest.mark.parametrize("network", [residual_network, plain_cnn])
@pytest.mark.parametrize("method", ["last", "bias"])
@pytest.mark.parametrize("form", ["canonical", "builtin", "xnnpack"])
def test_the_evaluator_takes_the_same_step_as_keras(network, method, form):
    import tensorflow as tf

    model = tinytl_keras.convert(network(), method)
    step = step_of(model)
    if form != "canonical":
        step = compile_signature(step, form)
    x = RANDOM.normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    y, rate = np.array([4, 1], np.int32), 0.1
    state = {}
    evaluate(step, {"x": x, "y": y, "learning_rate": np.array([rate], np.float32)}, state)

    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        from_logits = network is plain_cnn
        loss = tf.reduce_mean(
            keras.losses.sparse_categorical_crossentropy(y, model(x, training=False), from_logits=from_logits)
        )
    gradients = tape.gradient(loss, [v.value for v in variables])
    after = {variable.name: value for variable, value in state.items()}
    assert set(after) == {v.path for v in variables}
    for variable, gradient in zip(variables, gradients, strict=True):
        update = after[variable.path] - variable.numpy()
        difference = np.linalg.norm(update + rate * gradient) / np.linalg.norm(rate * gradient)
        assert difference < 1e-4, variable.path


@pytest.mark.parametrize("network", [residual_network, plain_cnn])
@pytest.mark.parametrize("method", ["last", "bias", "full"])
@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_a_poisoned_batch_changes_no_variable(network, method, poison):
    """ReLU6 and max pooling may stop what is not finite before it reaches the logits; the input's gate does not."""
    from ai_edge_litert.interpreter import Interpreter

    from tests.tflite_export.runtimes import KERNELS
    from tflite_export import flatbuffer, signatures
    from tflite_export.graph import Program

    model = tinytl_keras.convert(network(), method)
    step = step_of(model)
    save = signatures.save(step.variables)
    x = RANDOM.normal(size=(2, *model.input_shape[1:])).astype(np.float32)
    x[1, 3, 4, 0] = poison
    for form, resolver in itertools.product(("builtin", "xnnpack"), KERNELS.values()):
        content = flatbuffer.write(Program(tuple(compile_signature(g, form) for g in (step, save))))
        interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
        train, saved = (interpreter.get_signature_runner(name) for name in ("train", "save"))
        before = saved(request=np.zeros(1, np.float32))
        loss = train(x=x, y=np.array([0, 1], np.int32), learning_rate=np.array([0.1], np.float32))["loss"]
        after = saved(request=np.zeros(1, np.float32))
        assert np.isnan(loss)
        for name, value in before.items():
            np.testing.assert_array_equal(after[name], value, name)


def test_the_final_activation_is_peeled_off():
    def lowered(model):
        return canonicalise(lowering.lower(model, 1, lowering.trainable_variables(model)))

    graph = lowered(residual_network())
    logits, activation = peel_activation(graph)
    assert activation == "softmax" and logits is graph.ops[-1].inputs[0]
    graph = lowered(plain_cnn())
    assert peel_activation(graph) == (graph.outputs["output"], "linear")


def test_a_model_with_nothing_to_train_is_refused():
    model = plain_cnn()
    model.trainable = False
    with pytest.raises(ValueError, match="nothing in the model is trainable"):
        step_of(model)
