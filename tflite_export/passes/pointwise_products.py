"""Products of every pixel with a matrix, as the builtin kernels take them with the fewest operators around."""

from __future__ import annotations

from tflite_export.builder import Builder
from tflite_export.graph import Graph, Op, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.passes.rewrite import Written, read_once, rewrite


def products_as_convolutions(graph: Graph) -> Graph:
    """FULLY_CONNECTED between two RESHAPEs, from an image's pixels and back to them, as the CONV_2D that it is."""
    written, once = Written(), read_once(graph)

    def reshape(b: Builder, op: Op) -> Tensor | None:
        product, shape = written.by(b, op.inputs[0]), op.outputs[0].shape
        if product is None or product.kind != "FULLY_CONNECTED" or op.inputs[0] not in once or len(shape) != 4:
            return None
        rows, matrix, bias = product.inputs
        source = written.by(b, rows)
        if source is None or source.kind != "RESHAPE":
            return None
        x, (out, inputs) = source.inputs[0], matrix.shape
        if len(x.shape) != 4 or x.shape != (*shape[:3], inputs) or shape[3] != out:
            return None
        kernel = b.reshape(matrix, (out, 1, 1, inputs))
        strides = {"stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1, "padding": "VALID"}
        activation = product.attributes["fused_activation_function"]
        return b.op("CONV_2D", (x, kernel, bias), shape, fused_activation_function=activation, **strides)

    return remove_dead_code(rewrite(graph, {"RESHAPE": reshape}))


def transposed_products(graph: Graph) -> Graph:
    """The transpose of a FULLY_CONNECTED without bias and activation as the product with its operands exchanged."""
    written, once = Written(), read_once(graph)

    def transpose(b: Builder, op: Op) -> Tensor | None:
        product = written.by(b, op.inputs[0])
        if (
            product is None
            or product.kind != "FULLY_CONNECTED"
            or op.inputs[0] not in once
            or len(op.outputs[0].shape) != 2
        ):
            return None
        x, matrix, bias = product.inputs
        activation = product.attributes["fused_activation_function"]
        if len(x.shape) != 2 or activation != "NONE" or bias is not None:
            return None
        return b.op("FULLY_CONNECTED", (matrix, x, None), op.outputs[0].shape, fused_activation_function="NONE")

    return remove_dead_code(rewrite(graph, {"TRANSPOSE": transpose}))
