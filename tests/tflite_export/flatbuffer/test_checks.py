"""What a hostile .tflite is refused for: each rule broken once, in an otherwise good file."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tflite_export import flatbuffer
from tflite_export.builder import Builder, constant
from tflite_export.graph import Graph, Op, Program, Quantization, Tensor, Variable
from tflite_export.passes.legalise import BIAS, PADDING
from tflite_export.passes.rewrite import rewrite


def good() -> Program:
    """A sum that lasts, a convolution, an int8 tensor, a branch, and metadata."""
    variable = Variable("sum", np.zeros((1, 4, 4, 200), np.float32))  # so large that it is written by FILL
    b = Builder("main")
    x, flag = Tensor("x", (1, 4, 4, 200)), Tensor("flag", (1,), "bool")
    total = b.add(b.read(variable), x)
    b.assign(variable, total)
    kernel = constant(np.ones((2, 3, 3, 200)), name="kernel")
    y = b.conv_2d(total, kernel, padding=((1, 1), (1, 1)))
    y = b.depthwise_conv_2d(y, constant(np.ones((1, 1, 1, 2))))
    y = b.dequantize(b.quantize(y, 0.5, 3))
    out = Tensor("chosen", y.shape)
    branches = {role: _branch(role, y) for role in ("then_graph", "else_graph")}
    b.copy(Op("IF", (flag, y), (out,), branches))
    main = rewrite(Graph("main", {"x": x, "flag": flag}, {"chosen": out}, tuple(b.ops)), PADDING)
    main = rewrite(main, BIAS)
    b = Builder("tell")
    tell = Graph("tell", {"request": Tensor("request", (1,))}, {"sum": b.read(variable)}, tuple(b.ops))
    return Program((main, tell), {"note": b"hello"})


def _branch(name: str, like: Tensor) -> Graph:
    b, value = Builder(name), Tensor("value", like.shape)
    return Graph(name, {"value": value}, {"result": b.unary("RELU", value)}, tuple(b.ops))


def packed(model) -> bytes:
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class Edit:
    """The good file's model, to be changed."""

    def __init__(self):
        self.model = schema.ModelT.InitFromPackedBuf(flatbuffer.write(good()), 0)
        self.main = self.model.subgraphs[0]

    def tensor(self, name: str, subgraph=None):
        tensors = (subgraph or self.main).tensors
        return next(t for t in tensors if t.name == name.encode())

    @property
    def quantization(self):
        return self.tensor("main/quantize").quantization

    @property
    def initialise(self):
        return next(s for s in self.model.subgraphs if s.name == b"initialise")

    def op(self, kind: str, subgraph=None):
        number = getattr(schema.BuiltinOperator, kind)
        ops = (subgraph or self.main).operators
        return next(op for op in ops if self.model.operatorCodes[op.opcodeIndex].builtinCode == number)


def edit(change):
    made = Edit()
    change(made)
    return packed(made.model)


def put(thing, **fields):
    for name, value in fields.items():
        setattr(thing, name, value)


def ints(*values):
    return np.array(values, np.int32)


def unknown_operator(e):
    op = e.op("ADD")
    put(op, builtinOptions=None, builtinOptionsType=0)
    put(e.model.operatorCodes[op.opcodeIndex], builtinCode=32, deprecatedBuiltinCode=32)


BROKEN = {
    "version": (lambda e: put(e.model, version=2), "version 2"),
    "operator number": (lambda e: put(e.model.operatorCodes[0], builtinCode=9999), "operator number 9999"),
    "operator version": (lambda e: put(e.model.operatorCodes[0], version=-1), "version -1"),
    "no buffers": (lambda e: put(e.model, buffers=None), "no buffers"),
    "no subgraphs": (lambda e: put(e.model, subgraphs=None), "no subgraph"),
    "buffer 0": (lambda e: put(e.model.buffers[0], data=np.ones(4, np.uint8)), "buffer 0"),
    "buffer elsewhere": (lambda e: put(e.model.buffers[1], offset=4096, size=8), "behind the flatbuffer"),
    "dtype": (lambda e: put(e.tensor("x"), type=99), "'x'.*dtype number 99"),
    "negative size": (lambda e: put(e.tensor("x"), shape=ints(1, -4, 4, 200)), "'x'.*none negative"),
    "axes": (lambda e: put(e.tensor("x"), shape=np.ones(9, np.int32)), "at most 8 axes"),
    "bytes": (lambda e: put(e.tensor("kernel"), shape=ints(2, 3, 3, 199)), "'kernel'.*bytes do not hold"),
    "overflow": (lambda e: put(e.tensor("x"), shape=ints(65536, 65536, 0, 4)), "more than 2147483647 bytes"),
    "overflow of 64 bits": (lambda e: put(e.tensor("x"), shape=ints(*[2**31 - 1] * 8)), "more than 2147483647"),
    "open size": (lambda e: put(e.tensor("x"), shapeSignature=ints(1, -1, 4, 200)), "contradict"),
    "shape signature": (lambda e: put(e.tensor("x"), shapeSignature=ints(2, 4, 4, 200)), "contradict"),
    "a tensor that lasts": (lambda e: put(e.tensor("x"), isVariable=True), "keeps its values"),
    "buffer": (lambda e: put(e.tensor("x"), buffer=77), "buffer 77"),
    "scale": (
        lambda e: put(e.quantization, scale=np.zeros(1, np.float32)),
        "a scale that is zero",
    ),
    "NaN scale": (
        lambda e: put(e.quantization, scale=np.full(1, np.nan, np.float32)),
        "not finite",
    ),
    "scales": (
        lambda e: put(e.quantization, scale=np.ones(3, np.float32)),
        "3 scales and 1 zero points",
    ),
    "scales of axis": (
        lambda e: put(e.quantization, scale=np.ones(3, np.float32), zeroPoint=np.zeros(3, np.int64)),
        "3 scales for axis 0",
    ),
    "axis": (lambda e: put(e.quantization, quantizedDimension=4), "axis 4"),
    "zero point": (
        lambda e: put(e.quantization, zeroPoint=np.full(1, 300, np.int64)),
        "zero point outside int8",
    ),
    "input index": (lambda e: put(e.main, inputs=ints(0, 99)), "tensor 99 among its inputs"),
    "input twice": (lambda e: put(e.main, inputs=ints(0, 0)), "as two inputs"),
    "operator code": (lambda e: put(e.op("ADD"), opcodeIndex=88), "has code 88"),
    "operand": (lambda e: put(e.op("ADD"), inputs=ints(0, 99)), "ADD of 'main/add'.*reads tensor 99"),
    "negative operand": (lambda e: put(e.op("ADD"), inputs=ints(0, -2)), "reads tensor -2"),
    "result": (lambda e: put(e.op("ADD"), outputs=ints(-1)), "writes tensor -1"),
    "intermediates": (lambda e: put(e.op("ADD"), intermediates=ints(0)), "intermediate"),
    "no options": (
        lambda e: put(e.op("CONV_2D"), builtinOptions=None, builtinOptionsType=0),
        "has no options",
    ),
    "other options": (
        lambda e: put(e.op("CONV_2D"), builtinOptions=schema.Pool2DOptionsT(), builtinOptionsType=5),
        "CONV_2D.*has Pool2DOptions",
    ),
    "options of none": (
        lambda e: put(
            e.op("RELU", e.model.subgraphs[2]), builtinOptions=schema.SoftmaxOptionsT(), builtinOptionsType=9
        ),
        "RELU.*has SoftmaxOptions, none",
    ),
    "padding": (lambda e: put(e.op("CONV_2D").builtinOptions, padding=7), "padding is 7"),
    "activation": (
        lambda e: put(e.op("ADD").builtinOptions, fusedActivationFunction=77),
        "function is 77",
    ),
    "order": (lambda e: e.main.operators.append(e.main.operators.pop(2)), "before any operator writes it"),
    "cycle": (lambda e: put(e.op("ADD"), inputs=ints(0, *e.op("ADD").outputs)), "ADD.*reads 'main/add' before"),
    "constant written": (lambda e: put(e.op("DEQUANTIZE"), outputs=e.op("CONV_2D").inputs[1:2]), "which is a constant"),
    "input written": (lambda e: put(e.op("DEQUANTIZE"), outputs=ints(0)), "which is an input"),
    "written twice": (lambda e: put(e.op("DEQUANTIZE"), outputs=e.op("ADD").outputs), "which is written already"),
    "constant input": (lambda e: put(e.main, inputs=e.op("CONV_2D").inputs[1:2]), "takes the constant 'kernel'"),
    "no output": (lambda e: e.main.operators.pop(), "which no operator writes"),
    "handle": (lambda e: put(e.op("ADD"), inputs=ints(0, e.op("READ_VARIABLE").inputs[0])), "handles of variables"),
    "absent variable": (lambda e: put(e.op("ASSIGN_VARIABLE", e.initialise), inputs=ints(0, -1)), "absent operand"),
    "no handle": (lambda e: put(e.op("READ_VARIABLE"), inputs=ints(0)), "handles of variables"),
    "handle given": (lambda e: put(e.main, outputs=e.op("READ_VARIABLE").inputs), "gives the handle"),
    "variable": (lambda e: put(e.op("VAR_HANDLE").builtinOptions, sharedName="other"), "'other', which has no initial"),
    "signature index": (lambda e: put(e.model.signatureDefs[0], subgraphIndex=44), "'main' is subgraph 44"),
    "signature twice": (lambda e: put(e.model.signatureDefs[0], signatureKey="tell"), "two signatures 'tell'"),
    "one subgraph": (lambda e: put(e.model.signatureDefs[0], subgraphIndex=1), "two signatures with the subgraph 1"),
    "signature's tensor": (
        lambda e: put(e.model.signatureDefs[0].inputs[0], tensorIndex=3),
        "not those of",
    ),
    "two inputs of a name": (lambda e: put(e.model.signatureDefs[0].inputs[0], name="flag"), "called 'flag'"),
    "branch": (lambda e: put(e.op("IF").builtinOptions, thenSubgraphIndex=55), "runs subgraph 55 of"),
    "negative branch": (lambda e: put(e.op("IF").builtinOptions, thenSubgraphIndex=-1), "runs subgraph -1"),
    "recursion": (lambda e: put(e.op("IF").builtinOptions, thenSubgraphIndex=0), "'main' runs itself"),
    "shared branch": (lambda e: put(e.op("IF").builtinOptions, thenSubgraphIndex=3), "by several operators"),
    "signature as a branch": (lambda e: put(e.op("IF").builtinOptions, thenSubgraphIndex=1), "by an operator too"),
    "recursive CALL_ONCE": (lambda e: put(e.op("CALL_ONCE").builtinOptions, initSubgraphIndex=0), "runs itself"),
    "no initialisation": (
        lambda e: put(e.initialise, outputs=e.op("FILL", e.initialise).outputs),
        "has inputs or outputs",
    ),
    "filled shape": (
        lambda e: put(e.initialise.tensors[e.op("FILL", e.initialise).outputs[0]], shape=ints(9)),
        "and its output has another",
    ),
    "metadata": (lambda e: put(e.model.metadata[0], buffer=66), "'note' is in buffer 66"),
    "metadata twice": (lambda e: e.model.metadata.append(e.model.metadata[0]), "two metadata 'note'"),
    "offsets": (lambda e: put(e.model.metadata[0], name="OfflineMemoryAllocation"), "an offset for each"),
}


def test_the_good_file_is_good():
    again = flatbuffer.checked(edit(lambda made: None))
    assert [graph.name for graph in again.signatures] == ["main", "tell"]
    assert {op.kind for op in again.signatures[0].ops} >= {"IF", "CONV_2D", "READ_VARIABLE", "QUANTIZE"}


def test_a_scalar_that_fill_makes():
    """The shape of a scalar has no sizes, and its buffer no bytes."""

    def change(made):
        fill, scalar = made.op("FILL", made.initialise), schema.BufferT()
        shape, output = (made.initialise.tensors[i] for i in (fill.inputs[0], fill.outputs[0]))
        made.model.buffers.append(scalar)
        put(shape, buffer=len(made.model.buffers) - 1, shape=ints(0))
        put(output, shape=ints())

    (variable,) = flatbuffer.read(edit(change)).variables
    assert variable.shape == () and variable.initial == 0


@pytest.mark.parametrize("rule", BROKEN)
def test_refused(rule):
    change, message = BROKEN[rule]
    with pytest.raises(ValueError, match=message):
        flatbuffer.read(edit(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: put(e.op("CONV_2D").builtinOptions, strideH=0), "CONV_2D.*stride_h 0"),
        (lambda e: put(e.op("CONV_2D").builtinOptions, strideH=2), r"make shape \[1, 2, 4, 2\]"),
        (lambda e: put(e.tensor("main/add"), shape=ints(1, 4, 4, 100)), r"make shape \[1, 4, 4, 200\]"),
        (lambda e: put(e.op("ADD"), inputs=ints(0, -1)), "absent operand"),
        (lambda e: put(e.tensor("x"), shape=ints(0, 4, 4, 200)), "'x' of 'main' is empty"),
        (lambda e: put(e.op("DEPTHWISE_CONV_2D"), inputs=e.op("DEPTHWISE_CONV_2D").inputs[:2]), "no bias"),
        (unknown_operator, "no rule.*CUSTOM"),
    ],
)
def test_operators_that_only_checked_refuses(change, message):
    content = edit(change)
    flatbuffer.read(content)
    with pytest.raises(ValueError, match=message):
        flatbuffer.checked(content)


def test_sizes_left_open_follow_from_the_inputs():
    import keras
    import tensorflow as tf

    inputs = keras.Input((4, 6))
    flat = keras.layers.Reshape((8, 3))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(flat))
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    (declared,), (graph,) = flatbuffer.read(content).signatures, flatbuffer.checked(content).signatures
    assert any(op.kind == "SHAPE" for op in declared.ops), "the file computes its shapes"
    reshapes = [op for op in graph.ops if op.kind == "RESHAPE"]
    assert reshapes and all(op.inputs[1].is_constant for op in reshapes)
    (output,) = graph.outputs.values()
    assert output.shape == (1, 8, 2)
    assert flatbuffer.read(flatbuffer.write(Program((graph,)))).signatures[0].ops


def test_quantization_of_every_slice_is_read():
    x = Tensor("x", (1, 4, 4, 3), "int8", None, Quantization((0.5, 0.25, 1.0), (0, 0, 0), 3))
    b = Builder("q")
    again = flatbuffer.checked(flatbuffer.write(Program((Graph("q", {"x": x}, {"y": b.dequantize(x)}, tuple(b.ops)),))))
    assert again.signatures[0].inputs["x"].quantization == x.quantization


@pytest.mark.parametrize("dtype", ["INT4", "BFLOAT16"])
def test_weights_that_numpy_has_no_form_of(dtype):
    """Whether TensorFlow, which registers them with numpy, has been imported or not."""
    pytest.importorskip("ml_dtypes")
    broken = edit(lambda e: put(e.tensor("kernel"), type=getattr(schema.TensorType, dtype)))
    with pytest.raises(ValueError, match=f"'kernel'.*a constant of dtype {dtype.lower()}: not supported. Convert"):
        flatbuffer.read(broken)
