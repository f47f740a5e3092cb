"""Updates as custom operators, against the optimisers' own operators, and whole steps of small networks."""

import numpy as np
import pytest

import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export import _export, losses, lowering
from tflite_export.builder import Builder
from tflite_export.compilation import compile_signature
from tflite_export.evaluate import evaluate
from tflite_export.export_options import ExportOptions
from tflite_export.graph import CUSTOM, Graph, Tensor, Variable
from tflite_export.optimizers import SGD, Adam
from tflite_export.passes.tinytl_kernels import use_tinytl_kernels
from tflite_export.passes.tinytl_updates import in_dependency_order
from tflite_export.training import OptimizerState, final_layer, training_step
from tflite_export.updates import Updates

RANDOM = np.random.default_rng(0)
OPTIMIZERS = [
    SGD(),
    SGD(weight_decay=0.1),
    SGD(momentum=0.9),
    SGD(momentum=0.5, nesterov=True, weight_decay=0.01),
    Adam(),
    Adam(beta_1=0.8, beta_2=0.95, epsilon=1e-3, weight_decay=0.1),
]


def updated(optimizer, make_gradient, shape, inputs, whole: bool):
    """(graph, variables after two runs) of an update of a variable of `shape`."""
    initial = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    b, variable = Builder("layer"), Variable("layer/weight", initial)
    state, rate = OptimizerState.of(optimizer, (variable,)), Tensor("rate", (1,))
    gate = None if optimizer.zero_gradient_means_no_change else Tensor("gate", (1,))
    updates = Updates(b, optimizer, state, rate, gate, whole)
    updates.apply(variable, make_gradient(b))
    tensors = {t.name: t for t in (*inputs, rate, *([gate] if gate else []))}
    graph = Graph("main", tensors, {}, tuple(b.ops))
    return use_tinytl_kernels(graph) if whole else graph, variable, state


def after(graph, variables, gates):
    random, values = np.random.default_rng(1), {}
    for gate in gates:
        given = {name: random.normal(size=t.shape) for name, t in graph.inputs.items()}
        given["rate"] = np.array([0.1])
        given |= {"gate": np.array([gate])} if "gate" in given else {}
        evaluate(graph, given, values)
    return {variable.name: values[variable] for variable in variables}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("gates", [(1, 1), (1, 0, 1), (0, 0)])
def test_every_optimiser_and_a_gate_that_closes(optimizer, gates):
    results = []
    for whole in (False, True):
        gradient = Tensor("gradient", (3, 2))
        graph, variable, state = updated(optimizer, lambda b, g=gradient: g, (3, 2), [gradient], whole)
        results.append(after(graph, [variable, *state.variables], gates))
        kinds = [op.kind for op in graph.ops]
        assert ("TINYTL_UPDATE" in kinds) == whole and "OPTIMIZER_STEP" not in kinds
    for name, expected in results[0].items():
        np.testing.assert_allclose(results[1][name], expected, rtol=1e-6, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 9)])
def test_a_bias_is_updated_with_its_gradient(shape):
    dy = Tensor("dy", shape)
    graph, variable, _ = updated(SGD(), lambda b: b.sum(dy, range(len(shape) - 1)), shape[-1:], [dy], True)
    assert [op.kind for op in graph.ops] == ["READ_VARIABLE", "TINYTL_BIAS_UPDATE", "ASSIGN_VARIABLE"]
    given = {"dy": RANDOM.normal(size=shape), "rate": np.array([0.5])}
    values = {}
    evaluate(graph, given, values)
    expected = variable.initial - 0.5 * given["dy"].reshape(-1, shape[-1]).sum(0)
    np.testing.assert_allclose(values[variable], expected, rtol=1e-9)


@pytest.mark.parametrize("optimizer, kind", [(SGD(), "TINYTL_CONV_2D_KERNEL_UPDATE"), (Adam(), "TINYTL_UPDATE")])
def test_a_kernel_in_another_layout_is_turned_or_its_gradient(optimizer, kind):
    """Keras keeps kernels [height, width, in, out]; the slots of an optimiser would all be turned too."""
    x, dy = Tensor("x", (1, 5, 4, 2)), Tensor("dy", (1, 5, 4, 3))
    steps = {"stride_h": 1, "stride_w": 1, "padding": ((1, 1), (1, 1))}

    def gradient(b):
        return b.transpose(b.op("CONV_2D_KERNEL_GRADIENT", (x, dy), (3, 3, 3, 2), **steps), (1, 2, 3, 0))

    results = []
    for whole in (False, True):
        graph, variable, _ = updated(optimizer, gradient, (3, 3, 2, 3), [x, dy], whole)
        results.append(after(graph, [variable], (1, 1))["layer/weight"])
    assert kind in [op.kind for op in graph.ops]
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6, atol=1e-8)


def test_operators_only_move_forward():
    b, variable = Builder(), Variable("v", np.zeros(2, np.float32))
    first = b.add(b.read(variable), Tensor("x", (2,)))
    b.assign(variable, first)
    given = tuple(b.ops)
    late = b.unary("ABS", first)
    shuffled = Graph("main", {}, {"y": late}, (given[1], b.ops[-1], given[0], given[2]))
    kinds = [op.kind for op in in_dependency_order(shuffled).ops]
    assert kinds == ["READ_VARIABLE", "ADD", "ABS", "ASSIGN_VARIABLE"]


@pytest.mark.parametrize(
    "network, method, optimizer, rows",
    [
        (residual_network, "lite_residual+bias", SGD(), 1),
        (residual_network, "bias", SGD(momentum=0.9), 3),
        (plain_cnn, "full", Adam(), 2),
    ],
)
def test_a_whole_step_is_the_canonical_one(network, method, optimizer, rows):
    model = tinytl_keras.convert(network(), method)
    frozen = "float32" if method == "full" else "int8"
    options = ExportOptions(runtime="micro", kernels="tinytl", batch_size=rows, infer_batch_size=rows, frozen=frozen)
    variables = lowering.trainable_variables(model)
    forward = _export.forward_graph(lowering.lower(model, rows, variables, frozen), options)
    ends = {name: final_layer(forward, name) for name in forward.outputs}
    loss = losses.resolve_outputs(options.loss, None, 0.0, ends, [*ends])[0].loss
    state = OptimizerState.of(optimizer, variables)
    canonical, whole = (training_step(forward, loss, optimizer, state, whole_updates=whole) for whole in (False, True))
    compiled = compile_signature(whole, "tinytl", "int8")
    assert {op.kind for op in compiled.ops} & set(CUSTOM)
    x = RANDOM.normal(size=next(iter(forward.inputs.values())).shape)
    y = RANDOM.integers(0, 5, canonical.inputs["y"].shape)
    given = {next(iter(forward.inputs)): x, "y": y, "learning_rate": np.array([0.05])}
    results = []
    for graph in (canonical, compiled):
        values = {}
        results.append((evaluate(graph, given, values), values))
    np.testing.assert_allclose(results[1][0]["loss"], results[0][0]["loss"], rtol=1e-5)
    for variable, expected in results[0][1].items():
        moved = np.abs(expected - variable.initial).max() + 1e-9
        got = results[1][1][variable]
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-3 * moved, err_msg=variable.name)
