"""Kernel temporaries: sizes by hand, and that LiteRT places tensors around exactly these."""

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tflite_export.arena import plan
from tflite_export.builder import Builder, constant
from tflite_export.flatbuffer import write
from tflite_export.graph import Graph, Op, Program, Tensor
from tflite_export.workspace import litert_workspace, micro_workspace


def convolution(b, x, kernel_size, channels, stride=1, dilation=1):
    kernel = constant(np.ones((channels, kernel_size, kernel_size, x.shape[3])))
    size = [-(-n // stride) for n in x.shape[1:3]]
    return b.op(
        "CONV_2D", (x, kernel, constant(np.zeros(channels))), (x.shape[0], *size, channels), padding="SAME",
        stride_h=stride, stride_w=stride, dilation_h_factor=dilation, dilation_w_factor=dilation,
        fused_activation_function="NONE",
    )  # fmt: skip


@pytest.mark.parametrize(
    "kernel_size, stride, dilation, expected",
    [
        (1, 1, 1, ()),
        (3, 1, 1, (2 * 8 * 6 * 27 * 4,)),
        (1, 2, 1, (2 * 4 * 3 * 3 * 4,)),
        (3, 1, 2, (2 * 8 * 6 * 27 * 4,)),
    ],
)
def test_im2col(kernel_size, stride, dilation, expected):
    b = Builder()
    convolution(b, Tensor("x", (2, 8, 6, 3)), kernel_size, 5, stride, dilation)
    assert litert_workspace(b.ops[-1]) == expected


def test_reductions():
    b, x = Builder(), Tensor("x", (2, 3, 4, 5))
    for kind, expected in {"SUM": (16, 8, 60), "MEAN": (16, 8, 60), "REDUCE_MAX": (16, 8)}.items():
        b.reduce(kind, x, [0, 2], keep_dims=True)
        assert litert_workspace(b.ops[-1]) == expected
    b.sum(Tensor("i", (4, 6), "int32"), [0])
    assert litert_workspace(b.ops[-1]) == (8, 4, 48)


def test_matrix_products():
    b, x = Builder(), Tensor("x", (2, 3, 4))
    b.op("BATCH_MATMUL", (x, Tensor("y", (2, 4, 5))), (2, 3, 5))
    assert litert_workspace(b.ops[-1]) == (96, 160)
    b.op("BATCH_MATMUL", (x, constant(np.ones((2, 4, 5)))), (2, 3, 5))
    assert litert_workspace(b.ops[-1]) == (96,)


def test_other_operators_need_none():
    b = Builder()
    b.unary("EXP", Tensor("x", (2, 3)))
    assert litert_workspace(b.ops[-1]) == ()


def convolutions():
    b, x = Builder(), Tensor("x", (1, 9, 7, 3))
    b.origin = "a"
    y = kept = convolution(b, x, 3, 4)
    for i, (size, stride, dilation) in enumerate([(3, 1, 1), (1, 1, 1), (5, 1, 1), (3, 1, 2), (1, 1, 1)]):
        b.origin = str(i)
        y = convolution(b, y, size, 4 + i, stride, dilation)
    b.origin = "last"
    return x, b.unary("TANH", b.add(y, convolution(b, kept, 3, 8))), b


def products():
    b, x = Builder(), Tensor("x", (1, 9, 14))
    y = b.unary("TANH", x)
    for i in range(4):
        b.origin = str(i)
        z = b.unary("EXP", y)
        b.origin = f"{i}/square"
        square = b.op("BATCH_MATMUL", (y, z), (1, 9, 9), adj_x=False, adj_y=True)
        b.origin = f"{i}/product"
        y = b.unary("TANH", b.op("BATCH_MATMUL", (square, y), (1, 9, 14), adj_x=False, adj_y=False))
    b.origin = "last"
    return x, b.unary("ABS", y), b


def sums():
    b, x = Builder(), Tensor("x", (1, 12, 10))
    y, total = x, None
    for i in range(4):
        b.origin = str(i)
        y = b.unary("TANH", y)
        part = b.sum(y, [1], keep_dims=True)
        total = part if total is None else b.maximum(total, part)
    b.origin = "last"
    return x, b.unary("ABS", b.maximum(y, total)), b


@pytest.mark.parametrize("build", [convolutions, products, sums])
def test_litert_places_tensors_around_them(build):
    x, y, b = build()
    graph = Graph("g", {"x": x}, {"y": y}, tuple(b.ops))
    interpreter = Interpreter(
        model_content=write(Program((graph,))),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    indices = {d["name"]: d["index"] for d in interpreter.get_tensor_details()}
    placements = plan(graph).placements
    begin = {t: interpreter.tensor(indices[t.name])().__array_interface__["data"][0] for t in placements}
    base = begin[x] - placements[x].offset
    # Where an output is as large as one of its temporaries, a hash set decides which is placed first.
    tied = {op.outputs[0] for op in graph.ops if op.outputs[0].nbytes in litert_workspace(op)}
    assert len(tied) < len(placements) / 2
    assert {t: begin[t] - base for t in begin if t not in tied} == {
        t: p.offset for t, p in placements.items() if t not in tied
    }


@pytest.mark.parametrize("kind", ["SUM", "MEAN", "REDUCE_MAX"])
def test_tflm_s_reductions_index_their_operand(kind, capfd):
    micro = pytest.importorskip("tflite_micro.python.tflite_micro.runtime")
    b, x = Builder(), Tensor("x", (2, 3, 4, 5))
    y = b.reduce(kind, x, [1, 2])
    assert micro_workspace(b.ops[-1]) == (16, 8) and micro_workspace(Op("ABS", (x,), (y,))) == ()
    graph = Graph("g", {"x": x}, {"y": y}, tuple(b.ops))
    interpreter = micro.Interpreter.from_bytes(write(Program((graph,))), arena_size=1 << 16)
    capfd.readouterr()
    interpreter.print_allocations()
    assert f"Arena allocation head {480 + 48 + 16 + 16} bytes" in "".join(capfd.readouterr())
    assert plan(graph, "micro").total_bytes == 480 + 48 + 16 + 16
