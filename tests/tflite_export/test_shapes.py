"""Shape rules against the shapes that TensorFlow's converter writes, and what they refuse."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.tflite_export.every_operator import converted
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export import flatbuffer
from tflite_export.builder import constant, integers
from tflite_export.graph import CUSTOM, Graph, Op, Tensor
from tflite_export.lowering import stock_inference_file
from tflite_export.shapes import UnknownShape, has_rule, infer_shapes


@pytest.fixture(scope="module")
def every_operator() -> Graph:
    return flatbuffer.read(converted()).signatures[0]


def assert_shapes_are_the_files(graph: Graph) -> None:
    for op in graph.ops:
        assert infer_shapes(op) == tuple(tensor.shape for tensor in op.outputs), op


def test_every_operator_of_the_converter(every_operator):
    assert_shapes_are_the_files(every_operator)
    seen = {op.kind for op in every_operator.ops}
    expected = "CONV_2D DEPTHWISE_CONV_2D TRANSPOSE_CONV FULLY_CONNECTED BATCH_MATMUL STRIDED_SLICE SLICE GATHER TILE"
    expected += " MIRROR_PAD SPACE_TO_BATCH_ND BATCH_TO_SPACE_ND SPLIT SPLIT_V PACK UNPACK ONE_HOT ARG_MAX SELECT_V2"
    assert seen >= {*expected.split()}, f"the converter wrote {sorted(seen)}"


@pytest.mark.parametrize("network", [residual_network, plain_cnn])
def test_stock_files(network):
    assert_shapes_are_the_files(flatbuffer.read(stock_inference_file(network(), 2)).signatures[0])


def test_int8_file():
    model = residual_network()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([np.full((1, 17, 17, 3), 0.5, "float32")] for _ in range(2))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    (graph,) = flatbuffer.read(converter.convert()).signatures
    assert any(op.kind == "CONV_2D" and op.inputs[0].dtype == "int8" for op in graph.ops)
    assert_shapes_are_the_files(graph)


def of(*shape, dtype="float32", name="x"):
    return Tensor(name, shape, dtype)


CONV = {"stride_h": 1, "stride_w": 1, "padding": "VALID"}
REFUSED = {
    "rank": ("CONV_2D", (of(6, 8, 3), of(4, 3, 3, 3)), CONV, "rank 4"),
    "channels": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 2)), CONV, "equal groups"),
    "groups": ("CONV_2D", (of(1, 6, 8, 4), of(3, 3, 3, 2)), CONV, "equal groups"),
    "stride": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3)), {**CONV, "stride_h": 0}, "stride_h 0"),
    "negative stride": ("MAX_POOL_2D", (of(1, 6, 8, 3),), {"stride_w": -1}, "stride_w -1"),
    "dilation": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3)), {**CONV, "dilation_h_factor": 4}, "one that fits"),
    "bias": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3), of(3)), CONV, "bias"),
    "kernel dtype": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3, dtype="int16")), CONV, "int16"),
    "explicit padding": ("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3)), {**CONV, "padding": ((-1, 0),) * 2}, "negative"),
    "multiplier": ("DEPTHWISE_CONV_2D", (of(1, 6, 8, 3), of(1, 3, 3, 6)), {**CONV, "depth_multiplier": 3}, "expects 2"),
    "transposed": ("TRANSPOSE_CONV", (integers((1, 9, 9, 4)), of(4, 3, 3, 3), of(1, 4, 4, 3)), CONV, "pixels"),
    "rows": ("FULLY_CONNECTED", (of(2, 5), of(4, 3)), {}, "rows of 3"),
    "last axis": ("FULLY_CONNECTED", (of(2, 5), of(4, 10)), {"keep_num_dims": True}, "last axis of 10"),
    "matrices": ("BATCH_MATMUL", (of(2, 5), of(4, 3)), {}, "multiplied"),
    "broadcast": ("ADD", (of(2, 5), of(4)), {}, "broadcast"),
    "axes to broadcast": ("MAXIMUM", (of(1, 1, 1, 1, 1, 5), of(5)), {}, "at most 5 axes"),
    "dtypes": ("ADD", (of(2), of(2, dtype="int32")), {}, "one dtype"),
    "no output dtype": ("LESS", (of(2), of(2)), {}, "bool"),
    "empty": ("ADD", (of(2, 0), of(2, 0)), {}, "empty"),
    "count": ("ADD", (of(2),), {}, "1 operands, expects 2"),
    "absent": ("ADD", (of(2), None), {}, "absent"),
    "axis": ("SUM", (of(2, 3), integers([2])), {}, "axis 2"),
    "elements": ("RESHAPE", (of(2, 3), integers([4, 2])), {}, "6 values"),
    "two unknown": ("RESHAPE", (of(2, 3), integers([-1, -1])), {}, "6 values"),
    "zero": ("RESHAPE", (of(2, 3), integers([0, -1])), {}, "6 values"),
    "permutation": ("TRANSPOSE", (of(2, 3), integers([0, 0])), {}, "every axis once"),
    "negative pad": ("PAD", (of(2, 3), integers([[0, 0], [-1, 0]])), {}, "no negative"),
    "mirror": ("MIRROR_PAD", (of(2, 3), integers([[2, 0], [0, 0]])), {"mode": "REFLECT"}, "mirror"),
    "outside": ("SLICE", (of(2, 3), integers([0, 1]), integers([2, 3])), {}, "a part"),
    "empty slice": ("STRIDED_SLICE", (of(4), integers([2]), integers([2]), integers([1])), {}, "above 0"),
    "stride 0": ("STRIDED_SLICE", (of(4), integers([0]), integers([2]), integers([0])), {}, "stride 0"),
    "indices": ("STRIDED_SLICE", (of(4), integers([0, 0]), integers([2, 2]), integers([1, 1])), {}, "per axis"),
    "index": (
        "STRIDED_SLICE",
        (of(4), integers([4]), integers([5]), integers([1])),
        {"shrink_axis_mask": 1},
        "one of 4",
    ),
    "parts": ("SPLIT", (integers(1), of(2, 3)), {"num_splits": 2}, "equal parts"),
    "joined": ("CONCATENATION", (of(2, 3), of(3, 3)), {"axis": 1}, "axis 1 only"),
    "gathered": ("GATHER", (of(2, 3), integers([2])), {"axis": 0}, "0 to 1"),
    "batch": ("GATHER", (of(2, 3), of(3, 1, dtype="int32")), {"axis": 1, "batch_dims": 1}, "begin with"),
    "size": ("RESIZE_BILINEAR", (of(1, 4, 4, 2), integers([0, 2])), {}, "above 0"),
    "block": ("SPACE_TO_DEPTH", (of(1, 4, 5, 2),), {"block_size": 2}, "blocks of 2"),
    "block 0": ("DEPTH_TO_SPACE", (of(1, 4, 5, 2),), {"block_size": 0}, "block_size 0"),
    "batch blocks": (
        "BATCH_TO_SPACE_ND",
        (of(3, 4, 4, 1), integers([2, 2]), integers([[0, 0]] * 2)),
        {},
        "whole blocks",
    ),
    "huge": ("TILE", (of(2**20), integers([2**20])), {}, "bytes"),
    "huge fill": ("FILL", (integers([2**31 - 1] * 8), Tensor("v", (), "float32", np.float32(0))), {}, "bytes"),
    "unknown": ("LSTM", (of(2, 3),), {}, "no rule"),
    "condition": ("SELECT_V2", (of(2), of(2), of(2)), {}, "bool"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    kind, inputs, attributes, message = REFUSED[case]
    op = Op(
        kind,
        inputs,
        (Tensor("y", (), "int8" if case == "no bias" else "float32"),) * (2 if kind == "SPLIT" else 1),
        attributes,
        "some_layer",
    )
    with pytest.raises(ValueError, match=message) as error:
        infer_shapes(op)
    assert kind in str(error.value) and "some_layer" in str(error.value)


def test_outputs_are_counted():
    op = Op("RELU", (of(2),), (of(2), of(2)))
    with pytest.raises(ValueError, match="2 outputs, expects 1"):
        infer_shapes(op)


def test_a_shape_that_only_a_run_knows():
    op = Op("RESHAPE", (of(2, 3), of(2, dtype="int32", name="sizes")), (of(3, 2),))
    with pytest.raises(UnknownShape, match="'sizes'"):
        infer_shapes(op)
    known = dataclasses.replace(op, inputs=(op.inputs[0], integers([3, -1])))
    assert infer_shapes(known) == ((3, 2),)


def test_explicit_padding_counts():
    attributes = {"stride_h": 2, "stride_w": 1, "padding": ((1, 0), (2, 2))}
    op = Op("CONV_2D", (of(1, 6, 8, 3), of(4, 3, 3, 3), constant([0] * 4)), (of(),), attributes)
    assert infer_shapes(op) == ((1, 3, 10, 4),)


def test_rules_are_for_operators_of_the_schema():
    from ai_edge_litert import schema_py_generated as schema

    from tflite_export.shapes._infer_shapes import RULES

    assert all(hasattr(schema.BuiltinOperator, kind) or kind in CUSTOM for kind in RULES)
    assert has_rule("CONV_2D") and not has_rule("CUSTOM")
