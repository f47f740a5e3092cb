"""Writing and reading .tflite files."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.tflite_export.models import residual_network
from tests.tflite_export.runtimes import run_litert, run_micro
from tflite_export import flatbuffer, lowering
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor, Variable


def counter() -> Program:
    """Adds x to a variable in one signature, tells it in another."""
    variable = Variable("sum", np.array([2.0, 5.0], np.float32))
    b = Builder("add")
    x = Tensor("x", (2,))
    total = b.add(b.read(variable), x)
    b.assign(variable, total)
    add = Graph("add", {"x": x}, {"total": total}, tuple(b.ops))
    b = Builder("tell")
    tell = Graph("tell", {"request": Tensor("request", (1,))}, {"sum": b.read(variable)}, tuple(b.ops))
    return Program((add, tell), {"note": b"hello"})


def test_round_trip_keeps_everything():
    program = counter()
    again = flatbuffer.read(flatbuffer.write(program))
    assert again.metadata == program.metadata
    assert [g.name for g in again.signatures] == ["add", "tell"]
    for before, after in zip(program.signatures, again.signatures, strict=True):
        assert [op.kind for op in after.ops] == [op.kind for op in before.ops]
        assert {n: (t.shape, t.dtype) for n, t in after.inputs.items()} == {
            n: (t.shape, t.dtype) for n, t in before.inputs.items()
        }
        assert list(after.outputs) == list(before.outputs)
    (variable,) = again.variables
    assert variable.name == "sum"
    np.testing.assert_array_equal(variable.initial, [2, 5])
    assert flatbuffer.write(again) == flatbuffer.write(flatbuffer.read(flatbuffer.write(again)))


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
def test_signatures_share_variables_which_begin_at_their_initial_values(kernels):
    from ai_edge_litert.interpreter import Interpreter

    from tests.tflite_export.runtimes import KERNELS

    content = flatbuffer.write(counter())
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=KERNELS[kernels])
    add, tell = (interpreter.get_signature_runner(name) for name in ("add", "tell"))
    request = np.zeros(1, np.float32)
    np.testing.assert_array_equal(tell(request=request)["sum"], [2, 5])
    np.testing.assert_array_equal(add(x=np.array([1, 1], np.float32))["total"], [3, 6])
    np.testing.assert_array_equal(add(x=np.array([1, 0], np.float32))["total"], [4, 6])
    np.testing.assert_array_equal(tell(request=request)["sum"], [4, 6])


def test_every_signature_begins_with_call_once_of_the_same_subgraph():
    model = schema.ModelT.InitFromPackedBuf(flatbuffer.write(counter()), 0)
    kinds = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    first = [sub.operators[0] for sub in model.subgraphs[:2]]
    assert {kinds[op.opcodeIndex] for op in first} == {schema.BuiltinOperator.CALL_ONCE}
    assert {op.builtinOptions.initSubgraphIndex for op in first} == {2}


def test_equal_constants_are_stored_once_and_aligned():
    weights = np.arange(64, dtype=np.float32)
    b = Builder("x")
    x = Tensor("x", (64,))
    y = b.add(b.mul(x, constant(weights)), constant(weights.copy()))
    content = flatbuffer.write(Program((Graph("main", {"x": x}, {"y": y}, tuple(b.ops)),)))
    assert content.count(weights.tobytes()) == 1
    assert content.index(weights.tobytes()) % 16 == 0


def test_quantization_survives():
    b = Builder("q")
    x = Tensor("x", (2, 4))
    y = b.dequantize(b.quantize(x, 0.25, 3))
    graph = flatbuffer.read(flatbuffer.write(Program((Graph("main", {"x": x}, {"y": y}, tuple(b.ops)),)))).signatures[0]
    assert graph.ops[0].outputs[0].quantization == Quantization((0.25,), (3,))
    values = np.array([[0.2, -1, 100, 0.5], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(run_litert(graph, {"x": values}, "builtin")["y"][0], [0.25, -1, 31, 0.5])


def test_two_outputs_may_be_one_tensor():
    b = Builder("x")
    x = Tensor("x", (3,))
    y = b.unary("ABS", x)
    graph = Graph("main", {"x": x}, {"output": y, "logits": y}, tuple(b.ops))
    got = run_litert(graph, {"x": np.array([-1, 2, -3], np.float32)}, "xnnpack")
    np.testing.assert_array_equal(got["output"], got["logits"])


def test_a_converted_model_computes_the_same_after_a_round_trip():
    content = lowering.stock_inference_file(residual_network(), 2)
    x = np.random.default_rng(0).normal(size=(2, 17, 17, 3)).astype(np.float32)
    graph = flatbuffer.read(content).signatures[0]
    again = flatbuffer.read(flatbuffer.write(Program((graph,)))).signatures[0]
    (name,), (output,) = graph.inputs, graph.outputs
    for kernels in ("builtin", "xnnpack"):
        np.testing.assert_array_equal(
            run_litert(graph, {name: x}, kernels)[output], run_litert(again, {name: x}, kernels)[output]
        )


def test_a_canonical_operator_cannot_be_written():
    x = Tensor("x", (2, 2))
    op = Op("ACTIVATION_MASK", (x,), (Tensor("mask", (2, 2), "bool"),), {"activation": "RELU"})
    with pytest.raises(ValueError, match="ACTIVATION_MASK is not a TFLite builtin operator"):
        flatbuffer.write(Program((Graph("main", {"x": x}, {"mask": op.outputs[0]}, (op,)),)))


def test_an_unknown_attribute_is_named():
    x = Tensor("x", (2, 2))
    op = Op("SOFTMAX", (x,), (Tensor("y", (2, 2)),), {"betta": 1.0})
    with pytest.raises(ValueError, match="SOFTMAX has no option 'betta'"):
        flatbuffer.write(Program((Graph("main", {"x": x}, {"y": op.outputs[0]}, (op,)),)))


def test_a_truncated_file_is_refused_wherever_it_is_cut():
    content = flatbuffer.write(counter())
    for length in range(0, len(content) - 16, 7):
        with pytest.raises(ValueError, match="TFLite file|do not hold"):
            flatbuffer.read(content[:length])


def test_a_foreign_file_is_refused(tmp_path):
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    for content in (b"", b"TFL3", b"\0" * 100, (tmp_path / "model.keras").read_bytes()):
        with pytest.raises(ValueError, match="not a TFLite file"):
            flatbuffer.read(content)


@pytest.mark.parametrize("value", [0.0, 1.5, np.nan])
@pytest.mark.parametrize("runtime", ["builtin", "xnnpack", "TFLM"])
def test_an_initial_value_that_repeats_a_number_is_filled_not_stored(value, runtime):
    values = np.full((7, 5, 9), value, np.float32)
    variable = Variable("repeated", values)
    b, x = Builder("tell"), Tensor("x", (1,))
    tell = Graph("tell", {"x": x}, {"y": b.mul(b.read(variable), x)}, tuple(b.ops))
    content = flatbuffer.write(Program((tell,)))
    assert len(content) < 3000 and values.tobytes()[:64] not in content
    (again,) = flatbuffer.read(content).variables
    np.testing.assert_array_equal(again.initial, values)
    assert again.initial.dtype == np.float32
    one = {"x": np.ones(1, np.float32)}
    got = run_micro(tell, one) if runtime == "TFLM" else run_litert(tell, one, runtime)
    np.testing.assert_array_equal(got["y"], values)


def test_what_differs_in_one_bit_is_stored():
    values = np.zeros(1000, np.float32)
    values[7] = -0.0
    b = Builder("tell")
    outputs = {"y": b.read(Variable("v", values))}
    tell = Graph("tell", {"x": Tensor("x", (1,))}, outputs, tuple(b.ops))
    (again,) = flatbuffer.read(flatbuffer.write(Program((tell,)))).variables
    assert again.initial.tobytes() == values.tobytes()


def choosing() -> Program:
    """Adds x to a variable, or tells it doubled, by a flag."""
    variable = Variable("sum", np.array([2.0, 5.0], np.float32))
    b, x = Builder("add"), Tensor("x", (2,))
    total = b.add(b.read(variable), x)
    b.assign(variable, total)
    add = Graph("add", {"x": x}, {"total": total, "again": b.unary("NEG", total)}, tuple(b.ops))
    b, x = Builder("tell"), Tensor("x", (2,))
    doubled = b.scale(b.read(variable), 2)
    tell = Graph("tell", {"x": x}, {"total": doubled, "again": constant([7.0, 7.0])}, tuple(b.ops))
    b, x, flag = Builder("main"), Tensor("x", (2,)), Tensor("flag", (1,), "int32")
    condition = b.compare("EQUAL", flag, constant(1, "int32"))
    outputs = Tensor("total", (2,)), Tensor("again", (2,))
    b.copy(Op("IF", (condition, x), outputs, {"then_graph": add, "else_graph": tell}))
    main = Graph("main", {"x": x, "flag": flag}, dict(zip(("total", "again"), outputs)), tuple(b.ops))
    return Program((main,), offsets={x: 64, add.inputs["x"]: 64, doubled: 128})


def test_branches_lie_in_their_operator():
    content = flatbuffer.write(choosing())
    again = flatbuffer.read(content)
    (main,) = again.signatures
    assert [op.kind for op in main.ops] == ["EQUAL", "IF"] and [v.name for v in again.variables] == ["sum"]
    add, tell = main.branches
    assert (add.name, tell.name) == ("add", "tell")
    assert [op.kind for op in add.ops] == ["READ_VARIABLE", "ADD", "ASSIGN_VARIABLE", "NEG"]
    assert flatbuffer.write(again) == flatbuffer.write(flatbuffer.read(flatbuffer.write(again)))
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    kinds = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
    once = [
        [kinds[op.opcodeIndex] for op in sub.operators].count(schema.BuiltinOperator.CALL_ONCE)
        for sub in model.subgraphs
    ]
    assert [len(model.subgraphs), *once] == [4, 1, 0, 0, 0]


def test_one_branch_runs():
    (main,) = choosing().signatures
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=flatbuffer.write(Program((main,)))).get_signature_runner("main")
    x = np.array([1, 2], np.float32)
    for flag, total in ((0, [4, 10]), (1, [3, 7]), (1, [4, 9]), (0, [8, 18]), (0, [8, 18])):
        got = runner(x=x, flag=np.array([flag], np.int32))
        np.testing.assert_array_equal(got["total"], total)
        np.testing.assert_array_equal(got["again"], np.negative(total) if flag else [7, 7])


def test_offsets_survive():
    again = flatbuffer.read(flatbuffer.write(choosing()))
    assert "OfflineMemoryAllocation" not in again.metadata
    assert sorted((tensor.name, offset) for tensor, offset in again.offsets.items()) == [
        ("tell/mul", 128),
        ("x", 64),
        ("x", 64),
    ]


def test_a_branch_that_does_not_fit_its_if_is_refused():
    (main,) = choosing().signatures
    *before, choice = main.ops
    wrong = Op("IF", choice.inputs, choice.outputs[:1], choice.attributes)
    graph = main.replace(ops=(*before, wrong), outputs={"total": choice.outputs[0]})
    with pytest.raises(ValueError, match="the outputs of the branch 'add' are .*, IF's are"):
        flatbuffer.write(Program((graph,)))
    add = main.branches[0]
    twice = add.replace(outputs=dict.fromkeys(add.outputs, add.outputs["total"]))
    wrong = Op("IF", choice.inputs, choice.outputs, {**choice.attributes, "then_graph": twice})
    with pytest.raises(ValueError, match="two outputs of the branch 'add' are one tensor"):
        flatbuffer.write(Program((main.replace(ops=(*before, wrong)),)))
