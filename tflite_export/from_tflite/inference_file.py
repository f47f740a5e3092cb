"""Reads a .tflite file that infers, as one forward graph whose batch can change."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable

from tflite_export import flatbuffer
from tflite_export.evaluate import KERNELS
from tflite_export.files import read_file
from tflite_export.graph import Graph, Program, Tensor
from tflite_export.passes.dead_code import remove_dead_code
from tflite_export.runtime.info import MERGED_METADATA_NAME
from tflite_export.shapes import has_rule

_STATE = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_CONTROL_FLOW = ("IF", "WHILE", "CALL", "STABLEHLO_WHILE", "STABLEHLO_COMPOSITE")
INPUT_DTYPES = ("float32", "int8", "uint8", "int16")


@dataclasses.dataclass(frozen=True, eq=False)
class InferenceFile:
    """A .tflite file with one subgraph, one input and one output.

    Attributes:
        content: its bytes.
        graph: its operators, with the input ``x`` and the output ``output``, in the file's own dtypes.
        input_name, output_name: what the file's signature, or else its tensors, call them.
    """

    content: bytes
    graph: Graph
    input_name: str
    output_name: str

    @property
    def input(self) -> Tensor:
        return self.graph.inputs["x"]

    @property
    def output(self) -> Tensor:
        return self.graph.outputs["output"]

    @property
    def is_quantized(self) -> bool:
        """Whether the file itself rounds activations to integers, so that its inference is not that of its weights:
        kernels in int8 whose other operand is float are LiteRT's hybrid ones, which do too."""
        readers = [op for op in self.graph.ops if op.kind != "DEQUANTIZE" or not op.inputs[0].is_constant]
        return any(t is not None and t.quantization is not None for op in readers for t in op.inputs)


def read_inference_file(path: str | pathlib.Path) -> InferenceFile:
    """The file at `path`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is no .tflite file, or has something that cannot be differentiated or taken apart: several
            subgraphs, inputs or outputs, state, control flow, custom operators, operators that are not known here or
            do not go with their operands. The message names it.
    """
    content = read_file(
        path, "a .tflite file that infers", "TensorFlow's converter (`tf.lite.TFLiteConverter`) writes one."
    )
    program = _program(path, flatbuffer.read, content)
    names = [graph.name for graph in program.signatures]
    if {"train", "accumulate"}.intersection(names):
        raise ValueError(f"{path} trains already: it has the signatures {', '.join(names)}. Open it with OnDeviceModel")
    if len(names) != 1:
        raise ValueError(
            f"{path} has {len(names)} subgraphs or signatures ({', '.join(names)}); make_trainable takes a file with "
            "one: convert the model with a single signature"
        )
    _check_operators(path, program.signatures[0])
    (graph,) = _program(path, flatbuffer.checked, content).signatures  # before numpy or LiteRT computes anything of it
    if MERGED_METADATA_NAME in program.metadata:  # has its logits beside the output
        graph = remove_dead_code(graph.replace(outputs={"output": graph.outputs["output"]}))
    for role, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(tensors) != 1:
            found = ", ".join(map(repr, tensors)) or "none"
            raise ValueError(f"{path} has {len(tensors)} {role} ({found}); make_trainable takes files with one of each")
    _check_ends(path, graph)
    (input_name, x), (output_name, output) = *graph.inputs.items(), *graph.outputs.items()
    graph = graph.replace(inputs={"x": x}, outputs={"output": output})
    return InferenceFile(content, graph, input_name, output_name)


def _program(path, read: Callable[[bytes], Program], content: bytes) -> Program:
    try:
        return read(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _check_operators(path, graph: Graph) -> None:
    for op in graph.ops:
        at = f"{path}: operator {op.kind}, which writes {op.outputs[0].name if op.outputs else 'nothing'!r},"
        if op.kind == "CUSTOM":
            raise ValueError(f"{at} is a custom operator, of which no gradient is known. Convert without custom ops")
        if op.kind in _CONTROL_FLOW:
            raise ValueError(f"{at} is control flow, which a training step cannot have. Convert the model unrolled")
        if op.kind in _STATE:
            raise ValueError(f"{at} keeps state; make_trainable takes files without variables")
        if op.kind not in KERNELS or not has_rule(op.kind):
            raise ValueError(f"{at} is not known here. Please report it, with the file if you may")


def _check_ends(path, graph: Graph) -> None:
    (x,), (output,) = graph.inputs.values(), graph.outputs.values()
    for role, tensor in (("input", x), ("output", output)):
        if tensor.dtype not in INPUT_DTYPES or (tensor.dtype != "float32" and tensor.quantization is None):
            raise ValueError(f"{path}: the {role} {tensor} is neither float32 nor quantised; make_trainable takes both")
        if not tensor.shape:
            raise ValueError(f"{path}: the {role} {tensor} is a number without a batch")
    if not any(output in op.outputs for op in graph.ops):
        raise ValueError(f"{path}: no operator computes the output {output.name!r}")
