"""The training step as a graph: loss, gates and updates against independent computations."""

import itertools

import keras
import numpy as np
import pytest

import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export import lowering
from tflite_export.compilation import compile_signature
from tflite_export.evaluate import evaluate
from tflite_export.losses import SparseCategoricalCrossentropy
from tflite_export.optimizers import SGD
from tflite_export.passes.canonical import canonicalise
from tflite_export.training import OptimizerState, peel_activation, training_step

RANDOM = np.random.default_rng(3)


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
